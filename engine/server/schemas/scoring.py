"""`POST /generative_scoring`: how probable some tokens are after each of several texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import AnswerModel, RequestModel
from .sampling import CacheSalt, Priority, RequestId, TokenId
from .usage import UsageAnswer

_Texts = str | list[TokenId]


class ScoringRequest(RequestModel):
    """Score each of `label_token_ids` as the token that follows the query and each item.

    Attributes:
        model: Name of the served model; optional.
        query: The part that all prompts share, as text or token ids; it is computed once.
        items: The part that differs between prompts, as texts or lists of token ids.
        label_token_ids: The tokens to score, at least one.
        apply_softmax: Normalise probabilities over these tokens only; otherwise over all tokens.
        item_first: Put the item before the query.
        add_special_tokens: Put the tokenizer's BOS token, if it adds one, before the text.
        priority: Requests with lower numbers go first.
        cache_salt: Share cached prefixes only with requests of the same salt.
        request_id: End of the answer's id.
    """

    model: str | None = None
    query: _Texts
    items: str | Annotated[list[_Texts], Field(min_length=1)]
    label_token_ids: Annotated[list[TokenId], Field(min_length=1)]
    apply_softmax: bool = True
    item_first: bool = False
    add_special_tokens: bool = True
    priority: Priority = 0
    cache_salt: CacheSalt | None = None
    request_id: RequestId | None = None


class ScoredItem(AnswerModel):
    """One item.

    Attributes:
        index: Its position in the request.
        score: Probability of the first label.
        token_probs: Probability of each label, by token id.
        token_logprobs: Raw log-probability of each label, by token id.
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
