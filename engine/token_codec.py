"""Between what users pass and token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model import Tokenizer
from .errors import InputError


class TokenCodec:
    """Turns text or token ids into checked token ids of one model, and back into text.

    Attributes:
        tokenizer: The model's tokenizer; None leaves token ids only.
    """

    def __init__(self, tokenizer: Tokenizer | None, vocab_size: int) -> None:
        """Check against a vocabulary of `vocab_size` tokens."""
        self.tokenizer = tokenizer
        self._vocab_size = vocab_size

    def encode(self, tokens: str | Sequence[int], *, bos: bool = False) -> list[int]:
        """The token ids of text (special tokens in it are recognised), or given ids after a check.

        Args:
            tokens: Text or token ids.
            bos: Begin text as the tokenizer begins a document.

        Raises:
            InputError: Nothing is left, an id is not in the vocabulary, or it is text without a tokenizer.
        """
        if isinstance(tokens, str):
            if self.tokenizer is None:
                raise InputError("this checkpoint has no tokenizer: pass token ids instead of text")
            ids = self.tokenizer.encode(tokens, bos=bos and self.tokenizer.adds_bos)
        else:
            ids = [int(token) for token in tokens]
        if not ids:
            raise InputError("the prompt is empty: give at least one token")
        for token in ids:
            if not 0 <= token < self._vocab_size:
                raise InputError(f"token id {token}: the model's vocabulary is 0 to {self._vocab_size - 1}")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; empty without a tokenizer."""
        return self.tokenizer.decode(ids) if self.tokenizer else ""
