"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from .base import AnswerModel, RequestModel
from .completion import FinishReason, PromptLogprobs
from .sampling import CacheSalt, MaxTokens, SamplingRequest, TopLogprobs
from .usage import UsageAnswer


class TextPart(RequestModel):
    """A text part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(RequestModel):
    """A message of a conversation.

    Attributes:
        role: The author's role; `developer` means the same as `system`.
        content: The text, or a list of text parts, which are joined by newlines.
        name: The author's name, for chat templates that show it.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        "tool_calls": "marcot does not call tools; write the call and its result as text",
        "tool_call_id": "marcot does not call tools; write the call and its result as text",
        "function_call": "marcot does not call tools; write the call and its result as text",
        "audio": "marcot reads only text",
        "annotations": "marcot reads only text",
        "refusal": "write it as content",
        "reasoning": "write the reasoning as part of content",
        "reasoning_content": "write the reasoning as part of content",
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
        """The message as chat templates expect it."""
        message = {"role": "system" if self.role == "developer" else self.role, "content": self.text}
        return message if self.name is None else message | {"name": self.name}


class PromptChat(RequestModel):
    """A conversation and how to render it as a prompt.

    Attributes:
        messages: The messages, oldest first.
        add_generation_prompt: End the prompt with the opening of an assistant message.
        continue_final_message: Treat the last message as the beginning of the answer.
        add_special_tokens: Put the tokenizer's BOS token before the prompt; chat templates write it themselves.
        chat_template_kwargs: Further variables for the model's chat template.
    """

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template_kwargs: dict[str, Any] | None = None


class ChatRequest(PromptChat, SamplingRequest):
    """Answer a conversation.

    Attributes:
        max_tokens: Most new tokens; by default as many as fit into the context.
        max_completion_tokens: OpenAI's newer name for `max_tokens`.
        logprobs: Whether to return log-probabilities of the tokens.
        top_logprobs: How many of the most probable tokens to return for each position.
        cache_salt: Share cached prefixes only with requests of the same salt.
    """

    not_done: ClassVar[Mapping[str, str]] = {
        **SamplingRequest.not_done,
        "chat_template": "the model's own template is used; templates in requests are never run",
        "reasoning_effort": "set the variables of the model's template in chat_template_kwargs",
        "documents": "write them into a message",
        "prediction": "marcot does not take predicted text",
        "verbosity": "ask for it in a message",
        "echo": "prepend the beginning of the answer yourself",
    }

    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool | None = False
    top_logprobs: TopLogprobs | None = None
    cache_salt: CacheSalt | None = None


class TopLogprob(AnswerModel):
    """A token at one position.

    Attributes:
        token: Its text.
        logprob: Its log-probability.
        bytes: UTF-8 bytes of the text; null if the token is only part of a character or has no text.
    """

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """The drawn or given token at one position.

    Attributes:
        top_logprobs: The most probable tokens at that position.
        confidence: Marco-o1's token confidence.
    """

    top_logprobs: list[TopLogprob]
    confidence: float | None


class ChatLogprobs(AnswerModel):
    """Log-probabilities of the tokens of an answer."""

    content: list[TokenLogprob]


class AnswerMessage(AnswerModel):
    """The model's message."""

    role: Literal["assistant"] = "assistant"
    content: str


class Delta(AnswerModel):
    """The part of the message that one streamed chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatEnd(AnswerModel):
    """The fields that complete choices and streamed chunks share; see `CompletionChoice`."""

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
    """The next chunk of one sample."""

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
    """A chunk of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatPieceChoice]
    usage: UsageAnswer | None = None
    prompt_logprobs: PromptLogprobs | None = None
    prompt_token_ids: list[int] | None = None
    system_fingerprint: str | None = None
