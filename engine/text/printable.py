"""Text of anybody's, as it is shown to people."""

from __future__ import annotations

import re

_COMMANDS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
"""What terminals obey: all controls but tab and line feed."""

_REORDERING = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"
"""What changes the order in which text is shown, or the shapes of digits."""

_HIDDEN = r"\u2028\u2029\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""What is not seen and no language needs: separators, invisible operators, annotations, letters as tags."""

_FLAG = r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{4,6}\U000e007f"
"""The one honest use of tags: the flags of England, Scotland, Wales and other regions."""

_JOINERS = r"(?<=[\x00-\x7f])[\u200b-\u200d]+(?=[\x00-\x7f])"
"""Emoji, Persian, Hindi and Khmer need joiners and breaks without width. Between ASCII they only hide a difference."""

_DECEPTIVE = re.compile(f"[{_COMMANDS}{_REORDERING}{_HIDDEN}]")
_SHOWN = re.compile(f"({_FLAG})|{_DECEPTIVE.pattern}|{_JOINERS}")


def printable(text: str) -> str:
    """`text` with everything made visible that could command a terminal, reorder what it shows, or hide there.

    Controls become their pictures (U+2400 and on), everything else the replacement character; honest text of any
    language, emoji included, is as before. Half surrogate pairs stay: streams write them as escapes.
    """
    return _SHOWN.sub(lambda found: found[1] or "".join(map(_picture, found[0])), text)


def escaped(json: str) -> str:
    """JSON text with the same meaning, and none of the characters that a terminal must not get."""
    return _DECEPTIVE.sub(lambda found: _escape(found[0]), json)


def _picture(letter: str) -> str:
    code = ord(letter)
    return (
        chr(0x2400 + code) if code < 0x20 else "\N{SYMBOL FOR DELETE}" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"
    )


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
