r"""Computes a key that is equal for answers that mean the same."""

from __future__ import annotations

import re
from functools import lru_cache

from .arithmetic import Unreadable
from .quantity import quantity
from .tex import TEXT, plain
from .value import equation_key, is_constant, value_key

MAX_LENGTH = 1000
"""Maximum characters of a value; anything longer is compared as text."""

_ROUNDS = 5
_OPENING, _CLOSING = "([{⦃⟨", ")]}⦄⟩"
_HASH = re.compile("#[0-9a-f]{16}")
_TIME = re.compile(r"(\d{1,2}:\d\d)\s*([ap])\.?\s*m\.*", re.IGNORECASE)
_NO_VALUE = re.compile(r"\d+(?:-\d+)+|\d+(?:/\d+){2,}|[(\[{]*[A-Za-z]*[)\]}]*")
"""A range, a score or a date; a word or a letter."""

_THOUSANDS = re.compile(
    r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,]*\d)|(?<![\d.,/])(?<!\d )[1-9]\d{0,2}(?: \d{3})+(?! ?[\d/])"
)
_SEPARATOR = re.compile(
    rf"\s*[,;、](?:[\s{TEXT}]*\b(?:and|or)\b)?|[\s{TEXT}]+(?:and|or)\b|(?<=[\d)])\s*(?:[和或]|and|or)\s*(?=[\dA-Z(-])"
)
_EXPLANATION = re.compile(
    r",\s+(?:so|because|since|as|for|which|in|thus|therefore|hence|where|but|while|altogether|leaving|making|after|when)\b.*",
    re.DOTALL,
)
_RELATION = re.compile(r"<=|>=|<|>")
_NAME = re.compile(
    rf"(?:[A-Za-z]|\\[A-Za-z]+ ?)(?:_\s*(?:\w|\{{[^{{}}]*\}}))?'*(?:\s*\(\s*[\w, ]*\s*\))?|\|?[A-Z]{{1,4}}\|?|"
    rf"{TEXT}?[A-Za-z]{{2,}}(?:[{TEXT}\s.,']+[A-Za-z]{{2,}})*[{TEXT}.]*|\(\s*[A-Za-z](?:_\w)?(?:\s*,\s*[A-Za-z](?:_\w)?)*\s*\)"
)
_MATRIX = re.compile(
    r"\\begin ?\{(?:[pb]?(?:small)?matrix|array)\}(?:\s*\{[lcr| ]*\})?(.*)\\end ?\{(?:[pb]?(?:small)?matrix|array)\}",
    re.DOTALL,
)


def normalise_answer(answer: str) -> str:
    r"""Return a key that is equal for answers that mean the same; votes and comparisons use it.

    Formatting, TeX, case, outer quotes and brackets, and a final period are ignored. A number is compared by its
    amount, however it is written, without currency and unit; an expression by its value; `x = 5` by its right-hand
    side. The order matters in tuples, intervals and matrices, but not in lists of answers. Anything else is compared as
    text.
    """
    text = " ".join(answer.split())
    return text.casefold() if len(text) > MAX_LENGTH else _short_key(text)


@lru_cache(maxsize=1024)  # votes compare the same answers again and again
def _short_key(answer: str) -> str:
    key = answer
    for _ in range(_ROUNDS):
        before, key = key, part_key(plain(key).replace("$", "")) or key.casefold()
        if key == before:
            break
    return key


def part_key(text: str, depth: int = 0) -> str:
    """The key of an answer in plain notation, or of a part of one."""
    text = _trimmed(_EXPLANATION.sub("", text))
    if _HASH.fullmatch(text) or depth > 8:
        return text
    if time := _TIME.fullmatch(text.replace(TEXT, "")):
        return f"{time[1]} {time[2].lower()}m"
    if not depth:
        text = _THOUSANDS.sub(lambda number: re.sub("[, ]", "", number[0]), text) if _is_flat(text) else text
    for read in (_amount, _list, _bracketed, _union, _matrix, _relation, _equation, _either):
        if key := read(text, depth):
            return key
    return _text(text)


def _trimmed(text: str) -> str:
    """`text` without surrounding space and quotes, and without a final period."""
    before = None
    while before != text:
        before, text = text, text.strip().rstrip("。").strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
            text = text[1:-1]
        if len(text) > 1 and text[0] == text[-1] == TEXT and TEXT not in text[1:-1]:
            text = text[1:-1]
    return text


def _is_flat(text: str) -> bool:
    return not any(bracket in text for bracket in "([⦃⟨")


def _amount(text: str, depth: int) -> str:
    found = quantity(text)
    return _value(text if found is None else found.amount)


def _value(text: str) -> str:
    """The key of an expression; "" if it is not one, or only a name."""
    if _NO_VALUE.fullmatch(text.strip()):
        return ""
    try:
        return value_key(text)
    except Unreadable:
        return ""


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """`text`, split at the separators outside brackets."""
    parts, start, level, at = [], 0, 0, 0
    places = {match.start(): match.end() for match in separator.finditer(text)}
    while at < len(text):
        if level == 0 and at in places:
            parts.append(text[start:at])
            at = start = places[at]
            continue
        level += (text[at] in _OPENING) - (text[at] in _CLOSING)
        level = max(level, 0)
        at += 1
    return [part.strip() for part in (*parts, text[start:])]


def split_parts(text: str) -> list[str]:
    """The parts of a list of answers, or of a tuple, in plain notation."""
    if text and text[0] in _OPENING and text[-1] in _CLOSING and _is_one_bracket(text):
        text = text[1:-1]
    return [part for part in _split(text, _SEPARATOR) if part.strip(TEXT + " ")]


def _list(text: str, depth: int) -> str:
    """Several answers, in any order."""
    parts = [part for part in _split(text, _SEPARATOR) if part.strip(TEXT + " ")]
    if len(parts) < 2:
        return ""
    return ", ".join(sorted(_parts(parts, depth)))


def _parts(parts: list[str], depth: int) -> list[str]:
    """The keys of `parts`. Names and units are included if the parts differ in them."""
    names = [sides(part)[0] for part in parts]
    if names[0] and not any(names[1:]):
        parts = [sides(parts[0])[1], *parts[1:]]
    elif len(set(names)) > 1:
        return [f"{_text(name)}={part_key(sides(part)[1], depth + 1)}" if name else part_key(part, depth + 1)
                for name, part in zip(names, parts, strict=True)]  # fmt: skip
    units = {found.unit for part in parts if (found := quantity(part)) and found.unit}
    return [_text(part) if len(units) > 1 else part_key(part, depth + 1) for part in parts]


def _bracketed(text: str, depth: int) -> str:
    """A tuple, an interval, a set, or one thing in brackets."""
    if len(text) < 2 or text[0] not in _OPENING or text[-1] not in _CLOSING or not _is_one_bracket(text):
        return ""
    inside = _split(text[1:-1], re.compile("[,;]"))
    if len(inside) == 1:
        return part_key(inside[0], depth + 1) if text[0] != "⟨" else ""
    keys = [part_key(part, depth + 1) for part in inside]
    if text[0] in "{⦃":
        return ", ".join(sorted(keys))
    opening, closing = text[0].replace("⟨", "("), text[-1].replace("⟩", ")")
    return f"{opening}{', '.join(keys)}{closing}"


def _is_one_bracket(text: str) -> bool:
    level = 0
    for at, sign in enumerate(text):
        level += (sign in _OPENING) - (sign in _CLOSING)
        if level == 0:
            return at == len(text) - 1
    return False


def _union(text: str, depth: int) -> str:
    parts = _split(text, re.compile("∪"))
    return " ∪ ".join(sorted(part_key(part, depth + 1) for part in parts)) if len(parts) > 1 else ""


def _matrix(text: str, depth: int) -> str:
    found = _MATRIX.fullmatch(text)
    if found is None or "\\begin" in found[1]:
        return ""
    rows = [row for row in found[1].split("\\\\") if row.strip()]
    cells = ["&".join(part_key(cell, depth + 1) for cell in row.split("&")) for row in rows]
    return "\\begin {matrix}" + "\\\\".join(cells) + "\\end {matrix}"


def relation(text: str) -> tuple[str, str, str, str, str] | None:
    """An inequality of one variable as bound, sign, variable, sign, bound, in ascending order; None for other texts."""
    parts, signs = _split(text, _RELATION), _RELATION.findall(text)
    if len(parts) != len(signs) + 1 or not 1 <= len(signs) <= 2 or not all(parts):
        return None
    if signs[0][0] == ">":
        parts, signs = parts[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    if any(sign[0] != "<" for sign in signs):
        return None
    if len(signs) == 1:
        is_above = not _NAME.fullmatch(parts[0]) or is_constant(parts[0])
        parts = [*parts, "∞"] if is_above else ["-∞", *parts]
        signs = [*signs, "<"] if is_above else ["<", *signs]
    low, name, high = parts
    return (low, signs[0], name, signs[1], high) if _NAME.fullmatch(name) else None


def _relation(text: str, depth: int) -> str:
    """An inequality of one variable, or membership, as an interval."""
    parts = _split(text, re.compile("∈"))
    if len(parts) == 2 and _is_name(parts[0]):
        return part_key(parts[1], depth + 1)
    found = relation(text)
    if found is None:
        return ""
    low, first, _, second, high = found
    opening, closing = ("[" if first == "<=" else "("), ("]" if second == "<=" else ")")
    return f"{opening}{part_key(low, depth + 1)}, {part_key(high, depth + 1)}{closing}"


def sides(text: str) -> tuple[str, str]:
    """The two sides of the last equals sign; ("", text) without one. Exact values are preferred to ≈."""
    exact, *_ = parts = _split(text, re.compile("≈"))
    if len(parts) > 1:
        text = f"{exact}={parts[-1]}" if _is_name(exact) else exact or parts[-1]
    parts = _split(text, re.compile("(?<![<>!=])=(?!=)"))
    return ("=".join(parts[:-1]), parts[-1]) if len(parts) > 1 and all(parts) else ("", text)


def _is_name(text: str) -> bool:
    """Whether `text` only names a value: `x`, `f(x)`, `V_1 : V_2`, Area."""
    bare = re.sub(r"_\s*(?:\{[^{}]*\}|\w)", "", text)
    return bool(bare and (_NAME.fullmatch(text) or not re.search(r"[-\d+*^<>=]", bare)))


def _equation(text: str, depth: int) -> str:
    left, right = sides(text)
    if not left and right == text:
        return ""
    if all(_is_name(each) or is_constant(each) for each in left.split("=")) or not left:
        return part_key(right, depth + 1)
    try:
        return equation_key(left, right)
    except Unreadable:
        return ""


def _either(text: str, depth: int) -> str:
    """Both values of an expression with ±."""
    if "±" not in text and "∓" not in text:
        return ""
    both = [part_key(text.translate(str.maketrans("±∓", signs)), depth + 1) for signs in ("+-", "-+")]
    return ", ".join(sorted(both))


def _text(text: str) -> str:
    words = " ".join(text.replace(TEXT, " ").casefold().split()).removeprefix("+")
    return re.sub(r"(?<=[^\w\s]) | (?=[^\w\s])", "", words)
