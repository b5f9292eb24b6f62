"""The script that a text is written in."""

from __future__ import annotations

import re
from collections import Counter

_SCRIPTS = {
    "Han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f",
    "Kana": "\u3040-\u30ff",
    "Hangul": "\u1100-\u11ff\uac00-\ud7af",
    "Cyrillic": "\u0400-\u052f",
    "Arabic": "\u0600-\u06ff\u0750-\u077f",
    "Devanagari": "\u0900-\u097f",
    "Bengali": "\u0980-\u09ff",
    "Telugu": "\u0c00-\u0c7f",
    "Thai": "\u0e00-\u0e7f",
    "Hebrew": "\u0590-\u05ff",
    "Latin": "A-Za-z\u00c0-\u024f",
}
_UNITS = re.compile(
    "|".join(
        # A Han character is roughly a word; a single Latin letter is a variable, which is used in every language.
        f"(?P<{name}>[{letters}]{'' if name == 'Han' else '{2,}' if name == 'Latin' else '+'})"
        for name, letters in _SCRIPTS.items()
    )
)
_NO_LANGUAGE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\\[A-Za-z]+|</?[A-Za-z]+>", re.DOTALL)


def main_script(text: str) -> str | None:
    """The script of most words of `text`, such as `"Latin"` or `"Han"`; None if there are no words."""
    counts = Counter(name for name, _ in _units(text))
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


def foreign_share(text: str, question: str) -> float:
    """The share of the words of `text` that are neither in the main script of `question` nor quoted from it.

    Code, LaTeX commands and tags are not counted. The share is 0 if either text has no words.
    """
    own = main_script(question)
    if own is None:
        return 0.0
    quoted = {unit for _, unit in _units(question)}
    units = list(_units(text))
    foreign = sum(name != own and unit not in quoted for name, unit in units)
    return foreign / len(units) if units else 0.0


def _units(text: str) -> list[tuple[str, str]]:
    """Each word with the name of its script."""
    prose = _NO_LANGUAGE.sub(" ", text)
    return [(match.lastgroup or "", match[0].casefold()) for match in _UNITS.finditer(prose)]
