"""Reads numbers with currency, unit and scale words."""

from __future__ import annotations

import re
from typing import NamedTuple

from .tex import TEXT
from .words import CHANGING, CHANGING_CHARACTERS, KILO, LETTER_UNITS, OF_UNITS, SCALES, SHORT_UNITS


class Quantity(NamedTuple):
    """A number and its unit.

    Attributes:
        amount: The number as an expression, scale words multiplied in.
        unit: The words after it; "%" for percent, "" for none.
        is_ambiguous: The unit is one letter that may as well be a factor, as in `100 m`.
    """

    amount: str
    unit: str
    is_ambiguous: bool


_SCALE = re.compile(
    rf"[\s{TEXT}]*(?:(hundred|thousand|million|billion|trillion|dozen)(?![a-z])|(百万|千万|万|亿|(?!{KILO})[百千](?!分)))",
    re.IGNORECASE,
)

_CJK = "\u3400-\u9fff"
_CURRENCY = re.compile(
    r"^([-+]?)\s*(?:(?:US|HK|AU|CA|A|C)?[$€£¥₹]|(?:Rs\.?|USD|EUR|GBP|RMB|CNY)(?=[\s\d]))\s*([-+]?)", re.I
)
_ABOUT = re.compile(r"^(?:≈|~|about |approximately |roughly |around |大?约)\s*", re.IGNORECASE)
_NEGATIVE = re.compile(r"^(?:minus |negative |负|零下)\s*(?=[\d\\])", re.IGNORECASE)
_HALF = re.compile(rf"(?<=\d)[\s{TEXT}]+and\s+(?:a\s+half\b|(\d+/\d+))|(?<=\d)又(?=\d+/)", re.IGNORECASE)
_PARTS = re.compile(
    rf"(?P<amount>(?:\\(?:frac|sqrt|pi)(?![A-Za-z])|[-+*/^.\d{{}}()! ])*[\d)}}i])(?P<space>\s*)"
    rf"(?P<unit>[{TEXT}%°€£¥₹A-Za-z{_CJK}(].*)"
)
_WORD = re.compile(rf"[A-Za-z]+|[{_CJK}]+")
_UNIT = re.compile(rf"(?:[{TEXT}\sA-Za-z{_CJK}%°€£¥₹$./()'-]|\^\s*-?\d|\^\s*\{{\s*-?\d\s*\}}|(?<=[A-Za-z]),\s)+")
_MOST_WORDS = 6


def quantity(text: str) -> Quantity | None:
    """Read a number with a unit; None if `text`, in plain notation, is anything else.

    Words after a number are a unit only if they certainly do not change the amount: no factor, no fraction, no "or".
    """
    text = _ABOUT.sub("", text)
    text = _NEGATIVE.sub("-", _CURRENCY.sub(r"\1\2", text))
    text = _HALF.sub(lambda match: f" {match[1] or '1/2'}" if "又" not in match[0] else " ", text)
    parts = _PARTS.fullmatch(text)
    if parts is None:
        return Quantity(text, "", False)
    amount, unit = parts["amount"], parts["unit"]
    attached = not parts["space"]
    while scale := _SCALE.match(unit):
        factor = SCALES[(scale[1] or scale[2]).lower()]
        amount, unit, attached = f"({amount})*{factor}", unit[scale.end() :], False
    if not unit.strip(TEXT + " ."):
        return Quantity(amount, "", False)
    marked = unit.startswith(TEXT) or unit.lstrip().startswith("(")
    if not _UNIT.fullmatch(unit):
        return None
    words = _WORD.findall(unit)
    if len(words) > _MOST_WORDS or not _are_unit(words, unit, attached, marked):
        return None
    letters = unit.strip(f"{TEXT} .()")
    is_percent = letters.startswith("%") or letters.lower() in ("percent", "pct", "per cent", "percentage")
    is_ambiguous = not marked and len(words) == 1 == len(words[0]) and words[0] in LETTER_UNITS
    return Quantity(amount, "%" if is_percent else letters, is_ambiguous)


def _are_unit(words: list[str], unit: str, attached: bool, marked: bool) -> bool:
    """Whether the words after a number do not change its amount."""
    lowered = [word.lower() for word in words]
    if any(word in CHANGING and not (word in OF_UNITS and len(words) > 1) for word in lowered):
        return False
    if any(CHANGING_CHARACTERS & set(re.sub(KILO, "", word)) for word in words):
        return False
    first = words[0] if words else ""
    if not first or ord(first[0]) > ord("z") or (unit[0] in "%°€£¥₹" and (len(first) > 1 or unit in ("°C", "°F"))):
        return True
    if len(first) == 1:
        is_unit = first in LETTER_UNITS and (len(words) == 1 or "/" in unit)
        return (is_unit or (first == "a" and len(words) > 1)) and (marked or not attached)
    shortest = 4 if attached else 3  # 72km and 72clips, but not 72xy or 72 xy
    return marked or len(first) >= shortest or lowered[0] in SHORT_UNITS
