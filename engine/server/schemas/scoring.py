"""`POST /generative_scoring`: how probable some tokens are after each of several texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import AnswerModel, RequestModel
from .sampling import Priority, RequestId, TokenId
from .usage import UsageAnswer

_Texts = str | list[TokenId]


class ScoringRequest(RequestModel):
    """Rate `label_token_ids` as what follows the query and each item.

    Attributes:
        model: The served model; it may be left out.
        query: What all have in common, as text or token ids; it is computed once.
        items: What each of them has, as texts or lists of token ids.
        label_token_ids: The tokens, at least one.
        apply_softmax: Probabilities among these tokens alone; otherwise among all tokens.
        item_first: The item stands before the query.
        add_special_tokens: Begin the text as the tokenizer begins a document.
        priority: Requests with lower numbers go first.
        request_id: What the answer's id ends with.
    """

    model: str | None = None
    query: _Texts
    items: str | Annotated[list[_Texts], Field(min_length=1)]
    label_token_ids: Annotated[list[TokenId], Field(min_length=1)]
    apply_softmax: bool = True
    item_first: bool = False
    add_special_tokens: bool = True
    priority: Priority = 0
    request_id: RequestId | None = None


class ScoredItem(AnswerModel):
    """One item.

    Attributes:
        index: Its position.
        score: Probability of the first label.
        token_probs: Probability of each label, by its token's number.
        token_logprobs: Raw log-probability of each label.
    """

    index: int
    object: Literal["score"] = "score"
    score: float
    token_probs: dict[str, float]
    token_logprobs: dict[str, float]


class ScoringAnswer(AnswerModel):
    """All items, in order."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[ScoredItem]
    usage: UsageAnswer
