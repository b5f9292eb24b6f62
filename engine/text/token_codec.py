"""Converts between text and checked token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...model import Tokenizer
from ..checking import check_integer, shown
from ..errors import InputError


class TokenCodec:
    """Turns text or token ids into checked token ids of one model, and back into text.

    Attributes:
        tokenizer: The model's tokenizer; None leaves token ids only.
        vocab_size: Tokens that the model knows.
    """

    def __init__(self, tokenizer: Tokenizer | None, vocab_size: int) -> None:
        """Check against a vocabulary of `vocab_size` tokens."""
        self.tokenizer = tokenizer
        self.vocab_size = vocab_size

    def encode(self, tokens: str | Sequence[int], *, bos: bool = False) -> list[int]:
        """The token ids of text (special tokens in it are recognised), or given ids after a check.

        Args:
            tokens: Text or token ids, which may be an array or a tensor of one dimension.
            bos: Whether text starts with BOS, if the tokenizer starts documents with it.

        Raises:
            InputError: There are no tokens, an id is invalid or outside the vocabulary, or it is text without a
                tokenizer.
        """
        return self._encoded(tokens, bos)

    def _encoded(self, tokens: object, bos: bool) -> list[int]:
        if isinstance(tokens, str):
            if self.tokenizer is None:
                raise InputError("this checkpoint has no tokenizer: pass token ids instead of text")
            ids = self.tokenizer.encode(tokens, bos=bos and self.tokenizer.adds_bos)
        else:
            ids = _token_ids(tokens)
        if not ids:
            raise InputError("the prompt is empty: give at least one token")
        if not 0 <= min(ids) <= max(ids) < self.vocab_size:
            unknown = next(token for token in ids if not 0 <= token < self.vocab_size)
            raise InputError(
                f"token id {shown(unknown)}: must be in the model's vocabulary, 0 to {self.vocab_size - 1}"
            )
        return ids

    def encode_each(self, sequences: object, *, bos: bool = False) -> list[list[int]]:
        """The token ids of each of `sequences`; a single text, or a flat sequence of token ids, counts as one sequence.

        Raises:
            InputError: As in `encode`, or `sequences` is not iterable.
        """
        if isinstance(sequences, str | bytes | Mapping) or not isinstance(sequences, Iterable):
            return [self._encoded(sequences, bos)]
        each = list(sequences)
        if each and _is_one(each[0]):
            each = [each]
        return [self._encoded(sequence, bos) for sequence in each]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; empty without a tokenizer."""
        return self.tokenizer.decode(ids) if self.tokenizer else ""


def _is_one(token: object) -> bool:
    """Whether `token` is one token id, possibly an invalid one, and not a sequence."""
    return getattr(token, "shape", None) == () or not isinstance(token, str | Iterable)


def _token_ids(tokens: object) -> list[int]:
    """`tokens` as a list of ints; a single token id becomes a list of one.

    Raises:
        InputError: They are something else; says what to pass.
    """
    if isinstance(tokens, Mapping):
        raise InputError("token ids must not be a mapping: pass one sequence of them, such as its input_ids")
    if isinstance(tokens, bytes):
        raise InputError(f"{tokens!r:.100}: pass text as str, so decode these bytes first")
    shape = getattr(tokens, "shape", None)
    if shape is not None and len(shape) > 1:
        raise InputError(f"token ids of shape {list(shape)}: pass one row, such as ids[0]")
    if shape is not None and hasattr(tokens, "tolist"):
        tokens = tokens.tolist()
    ids: list[Any] = list(tokens) if isinstance(tokens, Iterable) else [tokens]
    if set(map(type, ids)) <= {int}:  # as in rendered prompts, whose thousands of tokens need no closer look
        return ids
    for token in ids:
        if isinstance(token, Mapping):
            raise InputError(
                f"{token!r:.100} is not a token id: use Engine.chat_ids to turn the messages of a chat into token ids"
            )
        if not _is_one(token):
            raise InputError(f"{token!r:.100} is not a token id: pass one text, or one sequence of integers")
    return [check_integer("token id", token, "an integer") for token in ids]
