"""The page of a comparison and the trees next to it, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marcot.engine.evaluation import Comparison, ComparisonFile, Contestant, Prompt, Reply
from support.programs.headless_browser import Browser
from support.programs.readable_text import UNREADABLE
from support.searches.grown_tree import grown_tree

CONTESTANTS = [
    *(Contestant("one", "greedy"), Contestant("one", "mcts:rollouts=16,label=a/b"), Contestant("two 答", "greedy")),
    Contestant("three", "greedy"),
]


def compared() -> Comparison:
    """Two prompts and four contestants, one of which failed on the second prompt."""
    prompts = [
        Prompt("fractions", "What is \\(\\frac{1}{2} + \\frac{1}{4}\\)?", "\\frac{3}{4}", "A sum."),
        Prompt("a rather long name of a situation", "w" * 300, None, ""),
    ]
    replies = {}
    for position in range(2):
        for number, each in enumerate(CONTESTANTS):
            long = "So \\[ " + "+".join(["x"] * 150) + " \\] is \\boxed{\\frac{3}{4}}, " + "v" * 200
            replies[position, each] = Reply("\\frac{3}{4}", number % 2 == 0, 0.5, 0.9, 1 + number, 40, 1.0, long)
    replies[1, CONTESTANTS[3]] = Reply(error="the prompt is too long")
    searches = {key: grown_tree(index, 3) for index, key in enumerate(replies) if replies[key].error is None}
    return Comparison(prompts, CONTESTANTS, replies, {each: {"model": each.model} for each in CONTESTANTS}, searches)


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "my report.html"
    ComparisonFile(path).write(compared())
    browser.prefer("light")
    browser.resize(1280, 800)
    browser.open(path)
    yield path
    assert browser.problems == []


def boxes(browser: Browser, selector: str) -> list[dict[str, Any]]:
    """Positions of elements in the window."""
    found: list[dict[str, Any]] = browser.run(
        f"[...document.querySelectorAll('{selector}')].map((each) => each.getBoundingClientRect().toJSON())"
    )
    return found


def test_every_reply_leads_to_its_tree(browser: Browser, page: Path) -> None:
    links = browser.run("[...document.querySelectorAll('.reply a')].map((link) => link.href)")
    assert len(set(links)) == 7
    for number, link in enumerate(links):
        browser.open(page)
        browser.run(f"setTimeout(() => document.querySelectorAll('.reply a')[{number}].click(), 0)")
        browser.wait_for(f"location.href === {link!r} && document.readyState === 'complete'")
        assert browser.run("document.querySelector('#settings').textContent").startswith("nodes")
    assert len(list((page.parent / "my report-trees").iterdir())) == 7


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_no_window_is_too_narrow(browser: Browser, page: Path, width: int) -> None:
    browser.resize(width, 800)
    browser.run("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    browser.settle()
    assert browser.run("document.documentElement.scrollWidth") <= width
    for box in boxes(browser, "article"):
        assert 0 <= box["left"] < box["right"] <= width


def test_models_are_beside_each_other_or_on_a_phone_below(browser: Browser, page: Path) -> None:
    first, second, third = boxes(browser, "article:first-of-type .model")[:3]
    assert first["top"] == second["top"] == third["top"]
    assert first["right"] <= second["left"]
    browser.resize(390, 800)
    browser.settle()
    first, second, third = boxes(browser, "article:first-of-type .model")[:3]
    assert first["bottom"] <= second["top"] < second["bottom"] <= third["top"]
    assert min(box["height"] for box in boxes(browser, "summary, .reply a")) >= 44
    assert min(box["width"] for box in boxes(browser, ".reply")) > 300


def test_formulas_are_mathematics(browser: Browser, page: Path) -> None:
    assert browser.run("document.querySelectorAll('article:first-of-type > p math mfrac').length") == 3
    assert browser.run("document.querySelectorAll('.answer > math > mrow > mfrac').length") == 7
    half = boxes(browser, "article > p math mfrac")[0]
    assert half["height"] > 1.2 * half["width"] > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_readable(browser: Browser, page: Path, scheme: str) -> None:
    browser.prefer(scheme)
    browser.run("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    browser.settle()
    dark = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(30, 33, 39)"
    assert dark == (scheme == "dark")
    assert browser.run(UNREADABLE) == []
