"""Formulas in the page, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from marcot.engine import SearchResult
from marcot.engine.search import Rollout, TreeNode
from support.programs.headless_browser import Browser
from support.searches.shown_tree import content, one_node, show

pytestmark = pytest.mark.usefixtures("no_problems")


def test_formulas_are_mathematics(browser: Browser, tmp_path: Path) -> None:
    text = "So \\(\\frac{1}{2}\\) of 🌳 is\n\\[\n3 \\times 4 = 12\n\\]\nand \\boxed{x^2}; not \\(\\frac{1}\\)."
    show(browser, tmp_path, one_node(text, "\\frac{3}{4}"))
    namespace = "http://www.w3.org/1998/Math/MathML"
    assert (
        browser.run("[...document.querySelectorAll('#text math')].map((math) => math.namespaceURI)") == [namespace] * 3
    )
    assert content(browser, "#text") == "So 12 of 🌳 is3×4=12and x2; not \\(\\frac{1}\\)."
    half, times, box = browser.run(
        "[...document.querySelectorAll('#text math')].map((math) => math.getBoundingClientRect().toJSON())"
    )
    assert half["height"] > 1.3 * times["height"] > 10
    assert times["top"] > half["bottom"] - 2
    assert browser.run("getComputedStyle(document.querySelector('#text .boxed')).borderTopWidth") == "1px"
    assert box["width"] > 10
    assert browser.run("document.title") == "3/4 – marcot search"
    assert content(browser, "#outcome b") == "3/4"
    assert browser.run("[...document.querySelectorAll('.answer bdi')].map((answer) => answer.textContent)") == [
        "3/4",
        "0",
    ]
    browser.run("document.getElementById('as-written').click()")
    assert content(browser, "#text") == text
    browser.run("tree.focus()")
    browser.press("t")
    assert browser.run("document.querySelectorAll('#text math').length") == 3


@pytest.mark.parametrize(
    ("tex", "line"),
    [
        ("\\frac{1}{2}", "1/2"),
        ("\\frac{a+b}{2}", "(a + b)/2"),
        ("3 \\times 4 = 12", "3 × 4 = 12"),
        ("-\\frac{1}{2} - 3", "−1/2 − 3"),
        ("x^2 + y^{10}", "x² + y¹⁰"),
        ("x^{n+1}", "x^(n + 1)"),
        ("a_1", "a_1"),
        ("\\sqrt{2} + \\sqrt[3]{x+1}", "√2 + ³√(x + 1)"),
        ("50^\\circ", "50°"),
        ("\\boxed{\\text{no way}}", "[no way]"),
        ("\\$9{,}500", "$9,500"),
    ],
)
def test_formulas_in_one_line(browser: Browser, tmp_path: Path, tex: str, line: str) -> None:
    show(browser, tmp_path, one_node("text", tex))
    assert content(browser, "#outcome b") == line


def test_a_formula_has_the_uncertainty_of_its_tokens(browser: Browser, tmp_path: Path) -> None:
    parts, confidences = ("A", " \\(x", "^2", "\\).", "B"), (0.9, 0.8, 0.3, 0.7, 0.6)
    ends = tuple(len("".join(parts[:count])) for count in range(1, 6))
    leaf = TreeNode(1, 0, "".join(parts), 1, 0.5, 5, "step", tuple(range(5)), confidences, token_ends=ends)
    rollouts = (Rollout(leaf.text, 0.5, "", 5, "eos", 1),)
    tree = (TreeNode(0, None, "", 1, 0.5, 0), leaf)
    show(browser, tmp_path, SearchResult("q", "", leaf.text, 0.5, 1.0, rollouts, tree, (0, 1)))
    spans = (
        "[...document.querySelectorAll('#text .token')].map((span) => "
        "[span.textContent, span.style.getPropertyValue('--share'), Boolean(span.querySelector('math'))])"
    )
    assert browser.run(spans) == [
        *(["A", "0.100", False], [" ", "0.200", False], ["x2", "0.700", True]),
        *([".", "0.300", False], ["B", "0.400", False]),
    ]
    browser.run("document.getElementById('as-written').click()")
    assert [text for text, *_ in browser.run(spans)] == list(parts)


@pytest.mark.parametrize(
    "tex",
    [
        r"\(\href{javascript:alert(1)}{x}\)",
        r"\(\text{<img src=x onerror=alert(1)>}\)",
        r"\boxed{</math><script>alert(1)</script>}",
        r"\(\style{position:fixed;inset:0}{x}\)",
    ],
    ids=["link", "element", "script", "style"],
)
def test_a_hostile_formula_is_no_more_than_a_formula(browser: Browser, tmp_path: Path, tex: str) -> None:
    show(browser, tmp_path, replace(one_node(tex, tex), question=tex))
    added = "[...document.querySelectorAll('#text *, #question *, .answer bdi *')]"
    assert browser.run(f"{added}.filter(({{ localName }}) => !localName.startsWith('m')).length") == 0
    names = f"{added}.flatMap((each) => each.getAttributeNames())"
    assert set(browser.run(names)) <= {"display", "class", "stretchy"}
    assert browser.run("document.querySelectorAll('img, a').length") == 0
