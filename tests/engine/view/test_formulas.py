"""Formulas in text, and their MathML."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.view.formulas import answer_formulas, find_formulas, to_html
from marcot.engine.view.mathml import mathml


def found(text: str) -> list[str]:
    """The parts of a text that are taken for formulas."""
    return [text[formula.start : formula.end] for formula in find_formulas(text)]


def words(markup: str) -> str:
    """The letters and signs of a MathML formula, in order."""
    return "".join(fromstring(markup).itertext())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"So \(3 \times 24 = 72\) and \(x\).", [r"\(3 \times 24 = 72\)", r"\(x\)"]),
        ("Here:\n\\[\n72 - 18 = 54\n\\]\nSo", ["\n\\[\n72 - 18 = 54\n\\]\n"]),
        ("a:\n   \\[ x \\]  \n\n   b", ["\n   \\[ x \\]  \n"]),
        ("$$a+b$$", ["$$a+b$$"]),
        (r"Let $x^2 = \$4$ be", [r"$x^2 = \$4$"]),
        ("It is \\boxed{60}, \\boxed{\\frac{1}{2}}.", ["\\boxed{60}", "\\boxed{\\frac{1}{2}}"]),
        (r"\dfrac{3}{4} \frac12 \sqrt[3]{8} 3 \times 4", [r"\dfrac{3}{4}", r"\frac12", r"\sqrt[3]{8}", r"\times"]),
        (r"5\% of \$20", [r"\%", r"\$"]),
        (r"\begin{align*} a &= b \\ c &= d \end{align*}", [r"\begin{align*} a &= b \\ c &= d \end{align*}"]),
        ("答案是 \\(\\frac{1}{2}\\)。", ["\\(\\frac{1}{2}\\)"]),
    ],
    ids=[
        "inline",
        "display",
        "indented",
        "dollars twice",
        "dollars",
        "boxed",
        "bare",
        "signs",
        "environment",
        "chinese",
    ],
)
def test_formulas_are_found(text: str, expected: list[str]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "plain text, 3 x 4 = 12",
        "She pays $5 and $6, in total $11.",
        "From $5-$3 to $2 (about that)$",
        "$a cat sat on it$",
        "`\\(x\\)` and ```\n$x$\n\\boxed{1}\n```",
        "```\n\\(x\\)",
        "C:\\text\\new \\timesheet",
    ],
    ids=["plain", "money", "differences", "prose", "code", "open code", "path"],
)
def test_other_text_stays_text(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        r"\(\frac{1}{\)",
        r"\(\frac{1}\)",
        r"\boxed{60",
        r"\[ 1 + 2",
        r"\(\unheardof{1}\)",
        r"\( \)",
        r"\(x^2^3\)",
        r"\(\left( x\)",
        "\\(" + "{" * 60 + "x" + "}" * 60 + "\\)",
        "\\(" + "x+" * 600 + "x\\)",
    ],
    ids=["argument", "one of two", "brace", "delimiter", "command", "empty", "two powers", "fence", "deep", "long"],
)
def test_what_does_not_convert_stays_as_it_is(text: str) -> None:
    assert to_html(text, find_formulas(text)) == text


@pytest.mark.parametrize(
    ("tex", "tags"),
    [
        (r"\frac{1}{2}", ["math", "mrow", "mfrac", "mrow", "mn", "mrow", "mn"]),
        (r"x^{10}", ["math", "mrow", "msup", "mi", "mrow", "mn"]),
        (r"\sqrt{2}", ["math", "mrow", "msqrt", "mrow", "mn"]),
        (r"\boxed{60}", ["math", "mrow", "mrow", "mrow", "mn"]),
    ],
    ids=["fraction", "power", "root", "box"],
)
def test_tex_becomes_mathml(tex: str, tags: list[str]) -> None:
    markup = mathml(tex)
    assert markup is not None
    assert [element.tag for element in fromstring(markup.to_html()).iter()] == tags
    assert ('class="boxed"' in markup.to_html()) == ("boxed" in tex)


def test_words_in_a_box_are_not_variables() -> None:
    assert "<mtext>blue</mtext>" in to_html(r"\boxed{blue}", find_formulas(r"\boxed{blue}"))


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (r"\frac{3}{4}", True),
        (r"x = \frac{3}{4}", True),
        ("3^{10}", True),
        (r"9{,}500", True),
        ("60", False),
        ("yes", False),
    ],
)
def test_an_answer_may_be_tex_without_delimiters(answer: str, whole: bool) -> None:
    assert [(formula.start, formula.end) for formula in answer_formulas(answer)] == (
        [(0, len(answer))] if whole else []
    )


@pytest.mark.parametrize(
    "text",
    [
        r"\(\href{javascript:alert(1)}{x}\)",
        r"\(\style{position:fixed}{x}\)",
        r"\(\class{token}{x}\)",
        r"\(\color{white}{x}\)",
        r"\(\hspace{9999em}x\)",
        r"\(\text{<img src=x onerror=alert(1)>}\)",
        r"\(\text{&lt;script&gt;alert(1)&lt;/script&gt;}\)",
        r'\(\text{" onload="alert(1)}\)',
        r"\boxed{</math><script>alert(1)</script>}",
        "<b>\\(x\\)</b>",
    ],
    ids=["link", "style", "class", "colour", "space", "element", "entities", "attribute", "end", "around"],
)
def test_a_formula_brings_nothing_but_mathematics(text: str) -> None:
    page = fromstring(f"<p>{to_html(text, find_formulas(text))}</p>")
    for element in list(page.iter())[1:]:
        assert element.tag == "math" or element.tag.startswith("m")
        assert set(element.attrib) <= {"display", "class", "mathvariant", "stretchy", "fence", "form"}
        assert element.get("class", "boxed") == "boxed"


@pytest.mark.parametrize(
    "text",
    ["\\boxed{" * 20_000, "\\(" * 30_000, "$x " * 30_000, "$" * 50_000, "\\frac{" * 9_000 + "}" * 9_000, "`" * 50_000],
    ids=["boxes", "delimiters", "dollars", "only dollars", "fractions", "code"],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    started = time.process_time()
    assert found(text) == []
    # A generous limit: a tenth of a second was measured, and a quadratic search would need minutes.
    assert time.process_time() - started < 10


PIECES = (
    "\\(",
    "\\)",
    "\\[",
    "\\]",
    "$",
    "$$",
    "\\frac",
    "\\boxed",
    "\\sqrt",
    "\\text",
    "\\left(",
    "\\right)",
    "{",
    "}",
)
MORE = (
    "^",
    "_",
    "&",
    "\\\\",
    "\\begin{align}",
    "\\end{align}",
    "<",
    ">",
    "1",
    "x",
    " ",
    "\n",
    "`",
    "é",
    "答",
    "🌳",
    "\\",
)


@given(st.lists(st.sampled_from(PIECES + MORE), max_size=30).map("".join))
@settings(deadline=None)
def test_any_text_gives_a_whole_page(text: str) -> None:
    for formulas in (find_formulas(text), answer_formulas(text)):
        bounds = [bound for formula in formulas for bound in formula[:2]]
        assert bounds == sorted(bounds)
        page = fromstring(f"<p>{to_html(text, formulas)}</p>")
        ET.tostring(page)
        outside, at = "", 0
        for formula in formulas:
            outside += text[at : formula.start]
            at = formula.end
        assert "".join([page.text or "", *(each.tail or "" for each in page)]) == outside + text[at:]
