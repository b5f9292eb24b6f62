"""Makes untrusted text safe to show on a terminal."""

from __future__ import annotations

import re

_COMMANDS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
"""Characters that control terminals: all controls but tab and line feed."""

_REORDERING = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"
"""Characters that change the order of text or the shapes of digits."""

_HIDDEN = r"\u2028\u2029\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Invisible characters that no language needs: separators, invisible operators, annotations, tag letters."""

_FLAG = r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{4,6}\U000e007f"
"""The only legitimate use of tag letters: the flags of England, Scotland, Wales and other regions."""

_JOINERS = r"(?<=[\x00-\x7f])[\u200b-\u200d]+(?=[\x00-\x7f])"
"""Zero-width joiners and breaks, which emoji, Persian, Hindi and Khmer need. Between ASCII they only hide a
difference."""

_DECEPTIVE = re.compile(f"[{_COMMANDS}{_REORDERING}{_HIDDEN}]")
_SHOWN = re.compile(f"({_FLAG})|{_DECEPTIVE.pattern}|{_JOINERS}")


def printable(text: str) -> str:
    """`text` with every character made visible that could control a terminal, reorder its text, or hide in it.

    Controls become their pictures (from U+2400), the others the replacement character. Ordinary text of any language,
    including emoji, is unchanged. Unpaired surrogates stay, because streams write them as escapes.
    """
    return _SHOWN.sub(lambda found: found[1] or "".join(map(_picture, found[0])), text)


def escaped(json: str) -> str:
    """JSON text with the same meaning, in which every character that is unsafe on a terminal is escaped."""
    return _DECEPTIVE.sub(lambda found: _escape(found[0]), json)


def _picture(letter: str) -> str:
    code = ord(letter)
    return (
        chr(0x2400 + code) if code < 0x20 else "\N{SYMBOL FOR DELETE}" if code == 0x7F else "\N{REPLACEMENT CHARACTER}"
    )


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
