"""How tokens are written in log-probabilities."""

from __future__ import annotations

from ....model import Tokenizer

_NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class TokenTexts:
    """Writes the tokens of one request as texts or ids."""

    def __init__(self, tokenizer: Tokenizer | None, as_ids: bool) -> None:
        """Write each token as its own decoded text, or, with `as_ids`, in the form `token_id:17`."""
        self._tokenizer = tokenizer
        self._as_ids = as_ids or tokenizer is None
        self._known: dict[int, str] = {}

    def text(self, token: int) -> str:
        """The token as its text or its id."""
        if self._as_ids:
            return f"token_id:{token}"
        return self.decoded(token)

    def decoded(self, token: int) -> str:
        """The text of the token alone; special tokens are written out."""
        if self._tokenizer is None:
            return ""
        text = self._known.get(token)
        if text is None:
            text = self._known[token] = self._tokenizer.decode([token], keep_special=True)
        return text

    def bytes(self, token: int) -> list[int] | None:
        """The bytes of the token's text; None if it is only part of a character or has no text."""
        text = self.decoded(token)
        return None if _NO_CHARACTER in text or not text else list(text.encode())
