"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from .base import AnswerModel, RequestModel
from .completion import FinishReason, PromptLogprobs
from .sampling import SamplingRequest
from .usage import UsageAnswer


class TextPart(RequestModel):
    """A part of a message that is text."""

    type: Literal["text"]
    text: str


class ChatMessage(RequestModel):
    """A message of a conversation.

    Attributes:
        role: Who speaks; `developer` is the system.
        content: The text, or parts of it, which are put together line by line.
        name: Who it is, for chat templates that show it.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        "tool_calls": "marcot does not call tools; write the call and its result as text",
        "tool_call_id": "marcot does not call tools; write the call and its result as text",
        "function_call": "marcot does not call tools; write the call and its result as text",
        "audio": "marcot reads text alone",
        "annotations": "marcot reads text alone",
        "refusal": "write it as content",
        "reasoning": "write the thought as a part of content",
        "reasoning_content": "write the thought as a part of content",
    }
    no_effect: ClassVar[frozenset[str]] = frozenset({"confidence"})

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)

    def for_template(self) -> dict[str, Any]:
        """What chat templates read."""
        message = {"role": "system" if self.role == "developer" else self.role, "content": self.text}
        return message if self.name is None else message | {"name": self.name}


class PromptChat(RequestModel):
    """A conversation and how it becomes a prompt.

    Attributes:
        messages: Oldest first.
        add_generation_prompt: End with the opening of an answer.
        continue_final_message: The last message is the beginning of the answer.
        add_special_tokens: Put the tokenizer's first token in front, which templates write themselves.
        chat_template_kwargs: Further variables of the model's chat template.
    """

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template_kwargs: dict[str, Any] | None = None


class ChatRequest(PromptChat, SamplingRequest):
    """Answer a conversation.

    Attributes:
        max_tokens: New tokens at most; by default as many as the context holds.
        max_completion_tokens: OpenAI's newer name of the same.
        logprobs: Whether to return log-probabilities of the tokens.
        top_logprobs: With so many of the most probable ones.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        **SamplingRequest.not_done,
        "chat_template": "the model's own is used; nothing of a request is run as a template",
        "reasoning_effort": "chat_template_kwargs has what the model's template knows",
        "documents": "write them into a message",
        "prediction": "marcot does not take predicted text",
        "verbosity": "ask for it in a message",
        "echo": "put the beginning of the answer in front of it yourself",
    }

    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0)] | None = None


class TopLogprob(AnswerModel):
    """A token in one place.

    Attributes:
        token: Its text.
        logprob: Its log-probability.
        bytes: The text's bytes.
    """

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """The token that was drawn in one place.

    Attributes:
        top_logprobs: The most probable ones there.
        confidence: Marco-o1's token confidence.
    """

    top_logprobs: list[TopLogprob]
    confidence: float | None


class ChatLogprobs(AnswerModel):
    """Log-probabilities of the tokens of an answer."""

    content: list[TokenLogprob]


class AnswerMessage(AnswerModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str


class Delta(AnswerModel):
    """What a piece of a stream adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatEnd(AnswerModel):
    """What a choice says when it has ended, or with the next piece of it; see `CompletionChoice`."""

    index: int
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    confidence: float | None = None
    token_ids: list[int] | None = None


class ChatChoice(ChatEnd):
    """One sample."""

    message: AnswerMessage


class ChatPieceChoice(ChatEnd):
    """The next piece of one sample."""

    delta: Delta


class ChatAnswer(AnswerModel):
    """The answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: UsageAnswer
    prompt_logprobs: PromptLogprobs | None = None
    prompt_token_ids: list[int] | None = None
    system_fingerprint: str | None = None


class ChatPiece(AnswerModel):
    """A piece of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatPieceChoice]
    usage: UsageAnswer | None = None
    prompt_logprobs: PromptLogprobs | None = None
    prompt_token_ids: list[int] | None = None
    system_fingerprint: str | None = None
