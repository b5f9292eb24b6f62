"""`/v1/branches`: branches of a tree that a client holds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import AnswerModel, RequestModel
from .chat import ChatLogprobs, PromptChat
from .completion import FinishReason
from .patterns import BRANCH_ID
from .sampling import CacheSalt, MaxTokens, Priority, Samples, SamplingRequest, TokenId, TopLogprobs

BranchId = Annotated[str, Field(pattern=BRANCH_ID)]

MAX_OPERATIONS = 1024
"""Most operations of one kind in one call."""

_Tokens = Annotated[list[TokenId], Field(min_length=1)]


class CreateRequest(RequestModel):
    """Create a branch for each prompt.

    Attributes:
        model: Name of the served model; optional.
        prompts: Each a text, token ids, or a conversation.
        add_special_tokens: Put the tokenizer's BOS token, if it adds one, before texts.
        priority: Requests with lower numbers go first.
        cache_salt: Share cached prefixes only with requests of the same salt; branches have that of their prompt.
    """

    model: str | None = None
    prompts: Annotated[list[str | _Tokens | PromptChat], Field(min_length=1, max_length=MAX_OPERATIONS)]
    add_special_tokens: bool = True
    priority: Priority = 0
    cache_salt: CacheSalt | None = None


class ExtensionSampling(SamplingRequest):
    """How to draw an extension's tokens; `logprobs` is how many of the most probable tokens to return per position."""

    max_tokens: MaxTokens | None = 16
    logprobs: TopLogprobs | None = None


class Extension(RequestModel):
    """Samples that continue a branch.

    Attributes:
        branch: Id of the branch.
        n: Number of samples.
        first: Index of the first sample: with the same seed, samples 0 to 3 differ from samples 4 to 7.
        sampling: How their tokens are drawn.
    """

    branch: BranchId
    n: Samples = 1
    first: Annotated[int, Field(ge=0, lt=2**31)] = 0
    sampling: ExtensionSampling = ExtensionSampling()


class ExtendRequest(RequestModel):
    """Extend any number of branches in one batch."""

    extensions: Annotated[list[Extension], Field(min_length=1, max_length=MAX_OPERATIONS)]
    priority: Priority = 0


class Fork(RequestModel):
    """A new branch that is a prefix of another.

    Attributes:
        branch: Id of the other branch.
        length: How many of its tokens to keep, counted from the start of the prompt.
    """

    branch: BranchId
    length: Annotated[int, Field(ge=1, lt=2**31)]


class ForkRequest(RequestModel):
    """Fork any number of branches."""

    forks: Annotated[list[Fork], Field(min_length=1, max_length=MAX_OPERATIONS)]


class Appending(RequestModel):
    """Given tokens that follow a branch.

    Attributes:
        branch: Id of the branch.
        tokens: Text (special tokens in it are recognised) or token ids.
    """

    branch: BranchId
    tokens: Annotated[str, Field(min_length=1)] | _Tokens


class AppendRequest(RequestModel):
    """Append to any number of branches. The branches do not change: each append creates a new branch."""

    appendings: Annotated[list[Appending], Field(min_length=1, max_length=MAX_OPERATIONS)]


class BranchScoreRequest(RequestModel):
    """Score given continuations of branches.

    Attributes:
        continuations: Each a branch and the tokens after it.
        top_logprobs: How many of the most probable tokens to return for each position.
        return_tokens_as_token_ids: Write tokens as `token_id:17`.
        priority: Requests with lower numbers go first.
    """

    continuations: Annotated[list[Appending], Field(min_length=1, max_length=MAX_OPERATIONS)]
    top_logprobs: TopLogprobs = 0
    return_tokens_as_token_ids: bool = False
    priority: Priority = 0


class ReleaseRequest(RequestModel):
    """Release branches; branches that extend them stay held."""

    branches: Annotated[list[BranchId], Field(min_length=1, max_length=2**20)]


class BranchAnswer(AnswerModel):
    """A branch.

    Attributes:
        id: Its id, for later requests.
        parent: Id of the branch that it extends or was forked from; null for a prompt.
        length: Number of its tokens, prompt included.
        expires_in: Seconds until it is released if no request uses it.
    """

    id: str
    object: Literal["branch"] = "branch"
    parent: str | None
    length: int
    expires_in: float


class ExtendedBranch(BranchAnswer):
    """A branch with the tokens drawn in this extension.

    Attributes:
        text: The drawn text.
        token_ids: The drawn tokens.
        finish_reason: Why drawing ended; another extension can continue, unless the model itself ended the text.
        stop_reason: The stop text or stop token that ended it; null if an end-of-sequence token did.
        confidence: Mean of Marco-o1's token confidences.
        logprobs: Log-probabilities of the drawn tokens, if requested.
    """

    text: str
    token_ids: list[int]
    finish_reason: FinishReason | None
    stop_reason: str | int | None
    confidence: float | None
    logprobs: ChatLogprobs | None


class BranchesAnswer(AnswerModel):
    """Branches, in the order of the request."""

    object: Literal["list"] = "list"
    data: list[BranchAnswer]


class ExtendAnswer(AnswerModel):
    """The samples of each extension, in the order of the request."""

    object: Literal["list"] = "list"
    data: list[list[ExtendedBranch]]


class BranchTokens(BranchAnswer):
    """A branch with all its tokens, prompt included."""

    token_ids: list[int]


class BranchScore(AnswerModel):
    """Score of the given tokens after a branch.

    Attributes:
        branch: Id of the branch.
        logprob: Sum of the tokens' log-probabilities.
        is_greedy: Whether every token is the most probable one at its position.
        tokens: Log-probabilities token by token.
    """

    branch: str
    logprob: float
    is_greedy: bool
    tokens: ChatLogprobs


class BranchScoresAnswer(AnswerModel):
    """Scores, in the order of the request."""

    object: Literal["list"] = "list"
    data: list[BranchScore]


class ReleaseAnswer(AnswerModel):
    """Number of branches released; the others no longer existed."""

    released: int
