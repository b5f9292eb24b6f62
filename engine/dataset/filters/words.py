"""Text normalisation and splitting into words, for the filters for repetition and duplicates and for question ids."""

from __future__ import annotations

import re
import unicodedata

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")


def normalised(text: str) -> str:
    """`text` in a normal form (NFKC, case-folded, single spaces), so that trivial variants compare equal."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split_words(text: str) -> list[str]:
    """The words and numbers of `text` in lower case; a Chinese character is a word."""
    return _WORD.findall(normalised(text))
