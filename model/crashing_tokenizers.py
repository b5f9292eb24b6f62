"""Refuses tokenizers that make the library `tokenizers` panic or crash the process."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path

from .errors import TokenizerError
from .files import strict_json

_SUSPECT = tuple(
    re.compile(pattern)
    for pattern in (
        rb'"continuing_subword_prefix"\s*:\s*(?!null|"")',
        rb'"precompiled_charsmap"',
        rb'"type"\s*:\s*"Strip"',
        rb'"String"\s*:\s*""',
        rb'"Regex"\s*:\s*""',
        rb"\\u00[2-7]",  # an escaped letter can spell any of these
    )
)
"""If none of these is found, nothing has to be refused. This search takes milliseconds; parsing takes as long as
building the tokenizer."""


def refuse_crashing(content: bytes, file: Path) -> None:
    """Refuse a `tokenizer.json` that would crash `tokenizers`.

    Args:
        content: The content of `tokenizer.json`.
        file: Its path, for messages.

    Raises:
        TokenizerError: It is not JSON, or has a part that would crash.
    """
    if not any(pattern.search(content) for pattern in _SUSPECT):
        return
    try:
        whole = strict_json.parse(content)
    except ValueError as error:
        raise TokenizerError(f"{file}: {error}") from error
    for part in _objects(whole):
        if part.get("continuing_subword_prefix") and part.get("type", "BPE") == "BPE":
            raise TokenizerError(
                f"{file}: continuing_subword_prefix: byte-level BPE has none, and other kinds are not supported"
            )
        for kind in ("String", "Regex"):
            if part.get(kind) == "":
                raise TokenizerError(f"{file}: a pattern is empty and would match everywhere")
        cut = [part.get(end) for end in ("start", "stop")] if part.get("type") == "Strip" else []
        if any(isinstance(characters, int) and characters > 1 for characters in cut):
            raise TokenizerError(f"{file}: a decoder strips {cut} characters of a token; at most 1 is supported")
        if "precompiled_charsmap" in part and not _is_charsmap(part["precompiled_charsmap"]):
            raise TokenizerError(f"{file}: precompiled_charsmap is broken")


def _objects(value: object) -> Iterator[dict[str, object]]:
    """All objects in `value`, which is nested at most `strict_json.MAX_DEPTH` deep."""
    if isinstance(value, dict):
        yield value
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(entry)


def _is_charsmap(value: object) -> bool:
    """Whether `value` is a sentencepiece normalizer: the size of a trie, the trie, and the texts that it points to."""
    try:
        content = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
        size = int.from_bytes(content[:4], "little")
        str(content[4 + size :], "utf-8")
    except (binascii.Error, ValueError):
        return False
    return len(content) > 4 and size % 4 == 0 and 0 < size <= len(content) - 4
