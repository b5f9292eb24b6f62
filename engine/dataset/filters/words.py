"""Texts as words: what repetition, duplicates and languages are measured in."""

from __future__ import annotations

import re
import unicodedata

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")


def normalised(text: str) -> str:
    """`text` without what does not make another text: Unicode variants, case, and the kind and amount of space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split_words(text: str) -> list[str]:
    """The words and numbers of `text`, lower case; a Chinese character is a word."""
    return _WORD.findall(normalised(text))
