"""Find the TeX formulas in text that a model wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import NamedTuple

from .mathml import LONGEST, Markup, mathml


class Formula(NamedTuple):
    """A TeX formula in a text.

    Attributes:
        start: Index of its first character, delimiters included.
        end: Index after its last character.
        markup: The formula as MathML.
    """

    start: int
    end: int
    markup: Markup


_GROUPS: Mapping[str, int] = {
    **dict.fromkeys(("frac", "dfrac", "tfrac"), 2),
    **dict.fromkeys(("boxed", "sqrt", "text", "mathrm", "mathbf", "textbf"), 1),
    **dict.fromkeys(("times", "div", "cdot", "pm", "le", "leq", "ge", "geq", "neq", "approx"), 0),
    **dict.fromkeys(("infty", "pi", "circ", "dots", "ldots"), 0),
}
"""Commands that count as TeX even without delimiters, with their number of arguments."""

_OPENING = re.compile(
    r"(?P<code>```|`)|(?P<sign>\\[$%])|(?P<inline>\\\()|(?P<display>\\\[|\$\$)"
    r"|\\begin\{(?P<name>(?:align|aligned|equation|gather|cases|matrix|pmatrix|bmatrix)\*?)\}"
    # As in pandoc: no space just inside the dollars and no digit after them, so that $5 and $6 remain sums of money.
    rf"|(?P<dollars>\$(?![\s$])(?:[^$\\\n]|\\.){{1,{LONGEST}}}?(?<!\s)\$(?!\d))"
    rf"|\\(?P<command>{'|'.join(_GROUPS)})(?![a-zA-Z])"
)
_BREAK_BEFORE = re.compile(r"\n[ \t]*\Z")
_BREAK_AFTER = re.compile(r"[ \t]{0,40}\n")
_CLOSING = {r"\(": r"\)", r"\[": r"\]", "$$": "$$"}
_WORDS_OF_TEX = re.compile(r"\\(?:text|textbf|mathrm|mbox|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_PROSE = re.compile(r"[^\W\d_]{3,}")
_WORDS_IN_BOX = re.compile(r"\\boxed\{(?=[^{}\\$]*[^\W\d_]{3})([^{}\\$]*)\}")


def find_formulas(text: str) -> list[Formula]:
    r"""The formulas in a text, in order.

    A formula is text between TeX delimiters, or one of a few commands such as `\boxed{...}` anywhere. Code, sums of
    money and TeX that cannot be converted do not count.

    Args:
        text: A part of a chain, a question or an answer.
    """
    if "\\" not in text and "$" not in text:
        return []
    found, at = [], 0
    ends = _closing_braces(text)
    while opening := _OPENING.search(text, at):
        formula = _formula(text, opening, ends)
        if formula is not None:
            found.append(formula)
        at = formula.end if formula else _after(text, opening)
    return found


def answer_formulas(answer: str) -> list[Formula]:
    """The formulas in an answer, which may be TeX as a whole without delimiters."""
    whole = mathml(answer.strip()) if re.search(r"[\\^_{]", answer) and not _is_prose(answer) else None
    return [Formula(0, len(answer), whole)] if whole is not None else find_formulas(answer)


def to_html(text: str, formulas: list[Formula]) -> str:
    """`text` as escaped HTML, with its formulas as MathML."""
    parts, at = [], 0
    for formula in formulas:
        parts += [escape(text[at : formula.start]), formula.markup.to_html()]
        at = formula.end
    return "".join([*parts, escape(text[at:])])


def _formula(text: str, opening: re.Match[str], ends: Mapping[int, int]) -> Formula | None:
    start, end = opening.span()
    match opening.lastgroup:
        case "sign":
            return _converted(text, start, end, opening[0])
        case "dollars" if not _is_prose(opening[0][1:-1]):
            return _converted(text, start, end, opening[0][1:-1])
        case "command":
            last = _end_of_arguments(text, end, _GROUPS[opening["command"]], ends)
            return None if last is None else _converted(text, start, last, text[start:last])
        case "inline" | "display" | "name":
            return _delimited(text, opening)
    return None


def _delimited(text: str, opening: re.Match[str]) -> Formula | None:
    start = opening.start()
    closing = _CLOSING.get(opening[0]) or rf"\end{{{opening['name']}}}"
    inside = text.find(closing, opening.end(), opening.end() + LONGEST)
    if inside < 0:
        return None
    end = inside + len(closing)
    content = text[start:end] if opening["name"] else text[opening.end() : inside]
    if opening["inline"]:
        return _converted(text, start, end, content)
    # A display formula is a block, so the line breaks and indentation around it are dropped.
    around = (_BREAK_BEFORE.search(text, max(0, start - 40), start), _BREAK_AFTER.match(text, end))
    before, after = (found[0] if found else "" for found in around)
    return _converted(text, start - len(before), end + len(after), content, "block")


def _converted(text: str, start: int, end: int, tex: str, display: str = "inline") -> Formula | None:
    if len(tex) > LONGEST:
        return None
    # TeX would typeset the letters of \boxed{blue} as variables, but models mean the word.
    markup = mathml(_WORDS_IN_BOX.sub(r"\\boxed{\\text{\1}}", tex.strip()), display)
    return None if markup is None else Formula(start, end, markup)


def _after(text: str, opening: re.Match[str]) -> int:
    """Where to continue the search after an opening that begins no formula."""
    if not opening["code"]:
        return opening.start() + (1 if opening["dollars"] else len(opening[0]))
    ended = text.find(opening[0], opening.end())
    # A lone ` is an ordinary character; an unclosed ``` extends to the end of the text.
    return ended + len(opening[0]) if ended >= 0 else len(text) if opening[0] == "```" else opening.end()


def _end_of_arguments(text: str, at: int, count: int, ends: Mapping[int, int]) -> int | None:
    if count == 1 and text.startswith("[", at):
        at = text.find("]", at, at + 20) + 1
    for _ in range(count):
        if at in ends:
            at = ends[at]
        elif count == 2 and text[at : at + 1].isdecimal():
            at += 1
        else:
            return None
    return at


def _closing_braces(text: str) -> dict[int, int]:
    """For each opening brace, the index after its closing brace."""
    ends, open_braces = {}, []
    for found in re.finditer(r"\\.|[{}]", text):
        if found[0] == "{":
            open_braces.append(found.start())
        elif found[0] == "}" and open_braces:
            ends[open_braces.pop()] = found.end()
    return ends


def _is_prose(tex: str) -> bool:
    return _PROSE.search(_WORDS_OF_TEX.sub(" ", tex)) is not None
