"""`POST /v1/search`: a whole search as one request."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue

from .base import AnswerModel, RequestModel
from .patterns import ACTION, VALUE
from .sampling import (
    MAX_STOPS,
    CacheSalt,
    MaxTokens,
    Priority,
    RepetitionPenalty,
    RequestId,
    Samples,
    Seed,
    StopText,
    StopToken,
    Temperature,
)

_Count = Annotated[int, Field(ge=1, lt=2**31)]

ActionName = Annotated[str, Field(pattern=ACTION)]

_ZERO: dict[str, JsonValue] = {"pattern": r"(^|\+)[0.]+\*"}
"""A weight of 0 in a sum of values, which the engine refuses."""

ValueName = Annotated[str, Field(pattern=VALUE, json_schema_extra={"not": _ZERO})]


class SearchSampling(RequestModel):
    """How the tokens of a search are drawn; defaults are those of `Sampling`.

    Attributes:
        stop: Texts that end a chain.
    """

    temperature: Temperature | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: RepetitionPenalty | None = None
    stop: Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    stop_token_ids: list[StopToken] | None = None
    seed: Seed | None = None


class SearchParametersRequest(RequestModel):
    """Parameters of a strategy, described in docs/search.md; omitted ones have the strategy's defaults."""

    rollouts: Samples | None = None
    action: ActionName | None = None
    value: ValueName | None = None
    answer_rule: Literal["confidence-vote", "majority", "best-rollout", "best-value", "most-visits"] | None = None
    answer_from: Literal["auto", "text"] | None = None
    max_rollout_tokens: MaxTokens | None = None
    max_depth: Annotated[int, Field(ge=1, le=65_536)] | None = None
    parallel: Samples | None = None
    reflection: bool | None = None
    prune: Annotated[float, Field(ge=0, lt=1)] | None = None
    convergence_window: _Count | None = None
    vote_margin: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stop_decided: bool | None = None
    max_tokens: _Count | None = None
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    max_nodes: Annotated[int, Field(ge=2, lt=2**31)] | None = None
    width: Samples | None = None
    exploration: Annotated[float, Field(ge=0)] | None = None
    greedy_first: bool | None = None
    asynchronous: bool | None = None
    beams: Samples | None = None
    samples: Samples | None = None
    subtrees: Samples | None = None
    balance: Annotated[float, Field(gt=0)] | None = None


class SearchRequest(RequestModel):
    """Search a question.

    Attributes:
        model: Name of the served model; optional.
        question: The question.
        reference: Its right answer, used by the value `ground-truth` and for `correct` in the answer.
        strategy: How the tree grows.
        parameters: Parameters of the strategy.
        sampling: How tokens are drawn.
        system: System message; by default the chat template's.
        instruction: Text appended to the question; by default a request to reason and to box the answer, unless the
            model does so already. An empty text appends nothing.
        tree: Whether to return the tree with all its tokens.
        stream: Send the progress while the search runs.
        priority: Requests with lower numbers go first.
        cache_salt: Share cached prefixes only with requests of the same salt.
        request_id: End of the answer's id.
    """

    not_done: ClassVar[dict[str, str]] = {"messages": "a search has one question; include earlier messages in it"}

    model: str | None = None
    question: Annotated[str, Field(min_length=1)]
    reference: str | None = None
    strategy: Literal["mcts", "greedy", "best-of-n", "self-consistency", "beam", "dvts", "rebase"] = "mcts"
    parameters: SearchParametersRequest = SearchParametersRequest()
    sampling: SearchSampling = SearchSampling()
    system: str | None = None
    instruction: str | None = None
    tree: bool = True
    stream: bool = False
    priority: Priority = 0
    cache_salt: CacheSalt | None = None
    request_id: RequestId | None = None


class SearchProgress(AnswerModel):
    """Progress of a running search; see `Progress`.

    Attributes:
        votes: How many rollouts gave the best answer, and how many gave any answer.
    """

    object: Literal["search.progress"] = "search.progress"
    id: str
    rollouts: int
    nodes: int
    generated_tokens: int
    best_value: float | None
    best_answer: str
    votes: tuple[int, int]


class RolloutAnswer(AnswerModel):
    """A finished chain; see `Rollout`."""

    text: str
    value: float
    answer: str
    tokens: int
    finish_reason: str
    leaf: int
    spent: int


class SearchAnswer(AnswerModel):
    """The result of a search; see `SearchResult`.

    Attributes:
        tree: The tree in the format that `marcot search --tree FILE.json` writes and `marcot.engine.view.read_tree`
            reads.
        stats: What the search cost; see `SearchStats`.
        correct: Whether the answer agrees with the reference; null without a reference.
    """

    object: Literal["search.result"] = "search.result"
    id: str
    created: int
    model: str
    answer: str
    text: str
    value: float
    confidence: float
    correct: bool | None
    rollouts: list[RolloutAnswer]
    best_path: list[int]
    stats: dict[str, float] | None
    tree: dict[str, Any] | None
