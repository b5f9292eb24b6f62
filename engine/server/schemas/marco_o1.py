"""Requests and answers of Marco-o1's published clients."""

from __future__ import annotations

from pydantic import Field

from .base import AnswerModel, RequestModel
from .chat import ChatMessage
from .sampling import MaxTokens, Samples, Temperature


class MarcoGenerateRequest(RequestModel):
    """Continue the answer to a question.

    Attributes:
        user_question: The user's message.
        model_output: The beginning of the answer.
        end_tokens: Texts at which a sample ends, separated by commas.
        n: Number of samples.
        temperature: Divides the logits; 0 is greedy.
        max_tokens: Most new tokens.
        use_tools: Tools for the chat template, as JSON.
    """

    user_question: str
    model_output: str = ""
    end_tokens: str = "<|im_end|>"
    n: Samples = 1
    temperature: Temperature = 0.7
    max_tokens: MaxTokens = 1024
    use_tools: str = "{}"


class MarcoGenerateAnswer(AnswerModel):
    """The samples, without the end texts."""

    response: list[str]


class MarcoErrorAnswer(AnswerModel):
    """An error, in the format that the clients read."""

    error: str


class MarcoChatRequest(RequestModel):
    """Answer the next message of a conversation.

    Attributes:
        user_input: The user's message.
        history: The earlier messages.
    """

    user_input: str
    history: list[ChatMessage] = Field(default_factory=list)


class MarcoMessage(AnswerModel):
    """A message of the conversation."""

    role: str
    content: str


class MarcoChatAnswer(AnswerModel):
    """The answer, and the conversation with the answer appended."""

    response: str
    history: list[MarcoMessage]
