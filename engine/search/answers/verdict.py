"""Decides whether an answer is right."""

from __future__ import annotations

import re
from fractions import Fraction

from .arithmetic import Unreadable
from .extraction import reference_answer
from .key import MAX_LENGTH, normalise_answer, part_key, relation, sides, split_parts
from .quantity import quantity
from .tex import TEXT, plain
from .value import equation_key
from .words import MEASURES

_SIMPLE_NAME = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?'*(?:\([A-Za-z]\))?")

_NUMBER_KEY = re.compile(r"-?\d+(?:\.\d+|/0*[1-9]\d*)?")


def answers_agree(answer: str, reference: str) -> bool:
    """Whether `answer` is right according to `reference`. Evaluations, data sets and values all use this function.

    `reference` is the right answer or a solution that marks it (`reference_answer`). An empty answer, or any answer to
    a blank reference, is wrong. Answers agree if their keys are equal (`normalise_answer`). So do

    - a percentage with the number it stands for (`12%` and `0.12`),
    - two equations of which one is a multiple of the other (`y = 2x + 3` and `2x - y + 3 = 0`),
    - values in the order of the names that they have in one of the two (`x = 3, y = 4` and `(3, 4)`).

    Answers with equal keys do not agree if they are values of different variables (`x = 5` and `y = 5`), or if a
    possible factor is missing (`2` where `2 m` is right).
    """
    wanted = reference_answer(reference)
    key, wanted_key = normalise_answer(answer), normalise_answer(wanted)
    if not key or not wanted_key:
        return False
    if max(len(answer), len(wanted)) > MAX_LENGTH:
        return key == wanted_key
    ours, theirs = _form(answer), _form(wanted)
    if key == wanted_key:
        return not any(differ(ours, theirs) for differ in (_is_other_variable, _is_other_unit, _lacks_factor))
    return (
        _are_percentage(ours, theirs, key, wanted_key)
        or _are_same_equation(ours, theirs)
        or _are_named(ours, theirs)
        or _compact(ours) == _compact(theirs)
    )


def known_reference(field: object) -> str | None:
    """The reference in the `answer` field of a data set; None if there is none or it is blank.

    A list means several answers.
    """
    text = ", ".join(map(str, field)) if isinstance(field, list) else "" if field is None else str(field)
    return text.strip() or None


def _form(answer: str) -> str:
    return plain(answer).replace("$", "").strip(" .")


def _is_other_variable(one: str, other: str) -> bool:
    left, right = _variable(one), _variable(other)
    if not left or not right or left[0] == right[0]:
        return False
    return not ("y" in (left, right) and "(" in left + right)  # y and f(x) mean the same


def _variable(text: str) -> str:
    found = relation(text)
    name = (found[2] if found else sides(text)[0]).replace(TEXT, "").replace(" ", "")
    return name if _SIMPLE_NAME.fullmatch(name) else ""


def _is_other_unit(one: str, other: str) -> bool:
    units = [MEASURES.get(found.unit.lower(), "") if (found := quantity(each)) else "" for each in (one, other)]
    return all(units) and units[0] != units[1]


def _lacks_factor(answer: str, wanted: str) -> bool:
    ours, theirs = quantity(answer), quantity(wanted)
    return bool(theirs and theirs.is_ambiguous and not (ours and ours.unit == theirs.unit))


def _are_percentage(one: str, other: str, one_key: str, other_key: str) -> bool:
    if not (_NUMBER_KEY.fullmatch(one_key) and _NUMBER_KEY.fullmatch(other_key)):
        return False
    is_percent = [bool((found := quantity(each)) and found.unit == "%") for each in (one, other)]
    left, right = Fraction(one_key), Fraction(other_key)
    return is_percent[0] != is_percent[1] and (left / 100 == right if is_percent[0] else left == right / 100)


def _are_same_equation(one: str, other: str) -> bool:
    try:
        return equation_key(*sides(one)) == equation_key(*sides(other))
    except Unreadable:
        return False


def _are_named(one: str, other: str) -> bool:
    """Whether one answer names the values that the other only lists."""
    ours, theirs = ([sides(part) for part in split_parts(each)] for each in (one, other))
    named = [{bool(name) for name, _ in each} for each in (ours, theirs)]
    if len(ours) != len(theirs) or named not in ([{True}, {False}], [{False}, {True}]):
        return False
    return all(part_key(left[1]) == part_key(right[1]) for left, right in zip(ours, theirs, strict=True))


def _compact(text: str) -> str:
    """Without spaces, except between digits."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)
