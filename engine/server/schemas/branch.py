"""`/v1/branches`: branches of a tree that a client holds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import AnswerModel, RequestModel
from .chat import ChatLogprobs, PromptChat
from .completion import FinishReason
from .sampling import Priority, SamplingRequest, TokenId

BranchId = Annotated[str, Field(pattern=r"^br-[0-9a-f]{24}$")]

MAX_OPERATIONS = 1024
"""Of one kind in one call."""

_Tokens = Annotated[list[TokenId], Field(min_length=1)]


class CreateRequest(RequestModel):
    """Make branches of prompts.

    Attributes:
        model: The served model; it may be left out.
        prompts: Each a text, token ids, or a conversation.
        add_special_tokens: Begin texts as the tokenizer begins a document.
        priority: Requests with lower numbers go first.
    """

    model: str | None = None
    prompts: Annotated[list[str | _Tokens | PromptChat], Field(min_length=1, max_length=MAX_OPERATIONS)]
    add_special_tokens: bool = True
    priority: Priority = 0


class ExtensionSampling(SamplingRequest):
    """How the tokens of an extension are drawn; `logprobs` is the number of most probable tokens of each place."""

    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = 16
    logprobs: Annotated[int, Field(ge=0)] | None = None


class Extension(RequestModel):
    """Samples of what follows a branch.

    Attributes:
        branch: Its id.
        n: How many.
        first: Number of the first one: with a seed, 0 to 3 are other samples than 4 to 7.
        sampling: How their tokens are drawn.
    """

    branch: BranchId
    n: Annotated[int, Field(ge=1)] = 1
    first: Annotated[int, Field(ge=0, lt=2**31)] = 0
    sampling: ExtensionSampling = ExtensionSampling()


class ExtendRequest(RequestModel):
    """Extend any number of branches in one batch."""

    extensions: Annotated[list[Extension], Field(min_length=1, max_length=MAX_OPERATIONS)]
    priority: Priority = 0


class Fork(RequestModel):
    """A branch that ends within another.

    Attributes:
        branch: Id of the other one.
        length: How many of its tokens both have, prompt included.
    """

    branch: BranchId
    length: Annotated[int, Field(ge=1, lt=2**31)]


class ForkRequest(RequestModel):
    """Fork any number of branches."""

    forks: Annotated[list[Fork], Field(min_length=1, max_length=MAX_OPERATIONS)]


class Appending(RequestModel):
    """Given tokens after a branch.

    Attributes:
        branch: Its id.
        tokens: Text (special tokens in it are recognised) or token ids.
    """

    branch: BranchId
    tokens: Annotated[str, Field(min_length=1)] | _Tokens


class AppendRequest(RequestModel):
    """Append to any number of branches, which stay as they are: each gives a new one."""

    appendings: Annotated[list[Appending], Field(min_length=1, max_length=MAX_OPERATIONS)]


class BranchScoreRequest(RequestModel):
    """Rate given tokens as what follows branches.

    Attributes:
        continuations: Each a branch and the tokens after it.
        top_logprobs: Most probable tokens that are told in each place.
        return_tokens_as_token_ids: Tokens are written as `token_id:17`.
        priority: Requests with lower numbers go first.
    """

    continuations: Annotated[list[Appending], Field(min_length=1, max_length=MAX_OPERATIONS)]
    top_logprobs: Annotated[int, Field(ge=0)] = 0
    return_tokens_as_token_ids: bool = False
    priority: Priority = 0


class ReleaseRequest(RequestModel):
    """Let go of branches; what is held below them stays."""

    branches: Annotated[list[BranchId], Field(min_length=1, max_length=2**20)]


class BranchAnswer(AnswerModel):
    """A branch.

    Attributes:
        id: What to call it.
        parent: The branch that it extends or was forked from; null for a prompt.
        length: Its tokens, prompt included.
        expires_in: Seconds that it lives if nobody uses it.
    """

    id: str
    object: Literal["branch"] = "branch"
    parent: str | None
    length: int
    expires_in: float


class ExtendedBranch(BranchAnswer):
    """A branch with what was drawn on it.

    Attributes:
        text: The text.
        token_ids: Its tokens.
        finish_reason: Why it ended; another extension goes on, unless the model had ended it.
        stop_reason: The text or the token that ended it; null where it was an end-of-sequence token.
        confidence: Mean of Marco-o1's token confidences.
        logprobs: Of its tokens, if they were asked for.
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
    """How probable the tokens after a branch are.

    Attributes:
        branch: Its id.
        logprob: Sum of their log-probabilities.
        is_greedy: Whether each of them is the most probable one in its place.
        tokens: One by one.
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
    """How many branches were let go of; the others were not there any more."""

    released: int
