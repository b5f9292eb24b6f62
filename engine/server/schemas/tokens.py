"""`POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`, as vLLM has them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import AnswerModel, RequestModel
from .chat import PromptChat
from .sampling import TokenId


class TokenizeText(RequestModel):
    """A text to be made into tokens.

    Attributes:
        model: The served model; it may be left out.
        prompt: The text.
        add_special_tokens: Begin it as the tokenizer begins a document.
        return_token_strs: Also return how the vocabulary spells each token.
    """

    model: str | None = None
    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool | None = False


class TokenizeChat(PromptChat):
    """A conversation to be made into tokens."""

    model: str | None = None
    return_token_strs: bool | None = False


class TokenizeAnswer(AnswerModel):
    """The tokens.

    Attributes:
        count: How many they are.
        max_model_len: How many the context holds.
        tokens: Their numbers.
        token_strs: How the vocabulary spells them, if that was asked for.
    """

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(RequestModel):
    """Tokens to be made into text; special ones are written out."""

    model: str | None = None
    tokens: Annotated[list[TokenId], Field(max_length=2**22)]


class DetokenizeAnswer(AnswerModel):
    """Their text."""

    prompt: str


class TokenizerInfo(AnswerModel):
    """The model's tokenizer.

    Attributes:
        tokenizer_class: Always `marcot.model.Tokenizer`.
        vocab_size: Tokens that have a text.
        max_model_len: Tokens of the model's context.
        bos_token: The token that documents start with.
        adds_bos: Whether plain text gets it.
        eos_token_ids: Tokens that end an answer.
        special_tokens: Tokens that texts are read without, with their numbers.
        has_chat_template: Whether it can write conversations.
    """

    tokenizer_class: str
    vocab_size: int
    max_model_len: int
    bos_token: str | None
    adds_bos: bool
    eos_token_ids: list[int]
    special_tokens: dict[str, int]
    has_chat_template: bool
