"""`POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`, as vLLM has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Discriminator, Field, Tag

from .base import AnswerModel, RequestModel
from .chat import PromptChat
from .sampling import TokenId


class TokenizeText(RequestModel):
    """Tokenize a text.

    Attributes:
        model: Name of the served model; optional.
        prompt: The text.
        add_special_tokens: Put the tokenizer's BOS token, if it adds one, before it.
        return_token_strs: Also return how the vocabulary spells each token.
    """

    model: str | None = None
    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool | None = False


class TokenizeChat(PromptChat):
    """Tokenize a conversation."""

    model: str | None = None
    return_token_strs: bool | None = False


def _kind(request: object) -> str:
    has_messages = isinstance(request, TokenizeChat) or (isinstance(request, Mapping) and "messages" in request)
    return (TokenizeChat if has_messages else TokenizeText).__name__


TokenizeRequest = Annotated[
    Annotated[TokenizeText, Tag("TokenizeText")] | Annotated[TokenizeChat, Tag("TokenizeChat")], Discriminator(_kind)
]
"""A text, or a conversation if there are `messages`."""


class TokenizeAnswer(AnswerModel):
    """The tokens.

    Attributes:
        count: Number of tokens.
        max_model_len: Length of the model's context, in tokens.
        tokens: Token ids.
        token_strs: How the vocabulary spells each token, if requested.
    """

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(RequestModel):
    """Turn token ids into text; special tokens are written out."""

    model: str | None = None
    tokens: Annotated[list[TokenId], Field(max_length=2**22)]


class DetokenizeAnswer(AnswerModel):
    """The text of the token ids."""

    prompt: str


class TokenizerInfo(AnswerModel):
    """The model's tokenizer.

    Attributes:
        tokenizer_class: Always `marcot.model.Tokenizer`.
        vocab_size: Number of tokens that have a text.
        max_model_len: Length of the model's context, in tokens.
        bos_token: The token that documents start with.
        adds_bos: Whether plain text starts with it.
        eos_token_ids: Tokens that end an answer.
        special_tokens: Special tokens and their ids; they are left out of decoded text by default.
        has_chat_template: Whether the model has a chat template.
    """

    tokenizer_class: str
    vocab_size: int
    max_model_len: int
    bos_token: str | None
    adds_bos: bool
    eos_token_ids: list[int]
    special_tokens: dict[str, int]
    has_chat_template: bool
