"""Converts text to token ids and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import tokenizers
from tokenizers import decoders

from .errors import ChatTemplateError, TokenizerError
from .files.rust_errors import translated
from .template.chat_template import ChatTemplate, Message

SPACE = "\u2581"
"""The character that SentencePiece uses for a space."""

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""U+FFFD, which invalid UTF-8 decodes to, such as the first bytes of a character that the next tokens complete."""


class Tokenizer:
    """A checkpoint's tokenizer and its chat template.

    Attributes:
        bos_token_id: The token that documents start with, or None.
        adds_bos: Whether the checkpoint expects `bos_token_id` before every plain text.
        chat_template: Renders messages to a prompt; None if the checkpoint has none.
        special_tokens: Ids of the tokens that `decode` drops, by their texts.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos_token_id: int | None = None,
        adds_bos: bool = False,
        chat_template: ChatTemplate | None = None,
    ) -> None:
        self._backend = backend
        self.bos_token_id = bos_token_id
        self.adds_bos = adds_bos and bos_token_id is not None
        self.chat_template = chat_template
        added = backend.get_added_tokens_decoder()
        self.special_tokens = {token.content: id for id, token in added.items() if token.special}
        self._ahead = _dropped_ahead(backend)
        self._alone = _TokenTexts(backend, self._ahead)
        self._adds_up = isinstance(backend.decoder, decoders.ByteLevel)

    @property
    def vocab_size(self) -> int:
        """Number of tokens that have a text, including added ones; the model's embedding may have more rows."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The tokenizer of the `tokenizers` library, for libraries that wrap one; do not change it."""
        return self._backend

    def fingerprint(self) -> str:
        """32 hexadecimal digits that identify the tokenizer's encoding."""
        return hashlib.sha256(self._backend.to_str().encode()).hexdigest()[:32]

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Return the ids of `text`; special tokens written out in it are recognised.

        Args:
            text: Any string.
            bos: Whether to put `bos_token_id` in front, if there is one. A text that already begins with it, such as a
                rendered chat, gets no second one.

        Raises:
            TokenizerError: `text` is not valid Unicode (it has an unpaired surrogate).
        """
        try:
            ids = self._backend.encode(text, add_special_tokens=False).ids
        except BaseException as error:
            try:
                text.encode()
            except UnicodeEncodeError as odd:
                unpaired = f"this text has an unpaired surrogate (character {odd.start + 1}), so it is no Unicode text"
                advice = "replace it, as in text.encode('utf-8', 'replace').decode()"
                raise TokenizerError(f"{unpaired}: {advice}") from error
            raise translated(error, "this text cannot be encoded", TokenizerError) from error
        first = self.bos_token_id
        return [first, *ids] if bos and first is not None and ids[:1] != [first] else ids

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Return the text of `ids`. Bytes that are not UTF-8 become U+FFFD; ids without a token become nothing.

        The ids are decoded as part of a longer text, because they usually continue a prompt: the space that
        SentencePiece puts before the first word is kept.

        Args:
            ids: Token ids.
            keep_special: Write special tokens out instead of dropping them.

        Raises:
            TokenizerError: The tokenizer's decoder fails on them.
        """
        if keep_special:
            return self._decoded(ids, keep_special=True)
        if len(ids) == 1:
            return self._alone[ids[0]]
        if self._adds_up:
            # Bytes follow one another, and so do the texts of whole characters. Lookups take a quarter of the time.
            text = "".join(map(self._alone.__getitem__, ids))
            if _UNFINISHED not in text:
                return text
        return self._decoded(ids)

    def _decoded(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        return _decoded(self._backend, [*self._ahead, *ids], keep_special=keep_special)

    def stream(self, *, keep_special: bool = False) -> TextStream:
        """Return a decoder for tokens that arrive one by one, such as those of one branch."""
        return TextStream(self, keep_special)

    def token_id(self, token: str) -> int | None:
        """Return the id of a token by its text, such as `"<|im_end|>"`, or None."""
        return self._backend.token_to_id(token)

    def special_token_in(self, text: str) -> str | None:
        """Return a special token that is written out in `text`, or None."""
        return next((token for token in self.special_tokens if token in text), None)

    def token(self, id: int) -> str | None:
        """Return the text of a token as the vocabulary spells it, or None."""
        return self._backend.id_to_token(id)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        **variables: object,
    ) -> str:
        """Render `messages` with the checkpoint's chat template; see `ChatTemplate.render`.

        Raises:
            ChatTemplateError: There is no template, or it fails on these messages.
        """
        if self.chat_template is None:
            raise ChatTemplateError("this checkpoint has no chat template; give the prompt as plain text")
        return self.chat_template.render(messages, add_generation_prompt=add_generation_prompt, now=now, **variables)


def _dropped_ahead(backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """A token of which the decoder of a SentencePiece vocabulary leaves nothing where it comes first, if it does so."""
    space = backend.token_to_id(SPACE)
    try:
        return (space,) if space is not None and backend.decode([space], skip_special_tokens=False) == "" else ()
    except BaseException as error:
        raise translated(error, "the decoder fails on a space", TokenizerError) from error


class _TokenTexts(dict[int, str]):
    """Texts of single tokens, which are asked for again and again."""

    def __init__(self, backend: tokenizers.Tokenizer, ahead: tuple[int, ...]) -> None:
        self._backend = backend
        self._ahead = ahead

    def __missing__(self, token: int) -> str:
        text = self[token] = _decoded(self._backend, [*self._ahead, token], keep_special=False)
        return text


def _decoded(backend: tokenizers.Tokenizer, ids: list[int], *, keep_special: bool) -> str:
    try:
        return backend.decode(ids, skip_special_tokens=not keep_special)
    except BaseException as error:
        raise translated(error, "these tokens cannot be decoded", TokenizerError) from error


class TextStream:
    """Incremental decoding: the results of `push`, and of a final `finish`, add up to `Tokenizer.decode` of all ids."""

    def __init__(self, tokenizer: Tokenizer, keep_special: bool) -> None:
        self._tokenizer = tokenizer
        self._keep_special = keep_special
        self._context: list[int] = []
        self._pending: list[int] = []

    def copy(self) -> TextStream:
        """An independent copy of the present state."""
        copy = TextStream(self._tokenizer, self._keep_special)
        copy._context, copy._pending = self._context.copy(), self._pending.copy()
        return copy

    def push(self, *ids: int) -> str:
        """Decode the next tokens; return the text that is now certain, often "" in the middle of a character."""
        self._pending.extend(ids)
        text = self._pending_text()
        # A final U+FFFD may be the beginning of a character whose other bytes come with the next tokens.
        return "" if text.endswith(_UNFINISHED) else self._release(text)

    def finish(self) -> str:
        """Return the text that is still held back."""
        return self._release(self._pending_text())

    def _pending_text(self) -> str:
        # Decoders may treat the first token differently (a leading space), so one released token is kept in front.
        before = self._decode(self._context)
        return self._decode(self._context + self._pending)[len(before) :]

    def _release(self, text: str) -> str:
        self._context, self._pending = (self._context + self._pending)[-1:], []
        return text

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, keep_special=self._keep_special)
