"""The page in windows of all sizes, in light and dark, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from marcot.engine import SearchResult
from marcot.engine.view.scale import colour
from support.programs.headless_browser import Browser
from support.programs.readable_text import UNREADABLE
from support.searches.grown_tree import grown_tree
from support.searches.shown_tree import PIXELS, RESULT, content, go, ink, one_node, root_place, show

pytestmark = pytest.mark.usefixtures("no_problems")


def colour_at(browser: Browser, x: float, y: float) -> list[int]:
    """The colour of the pixel of the canvas at the position (x, y) of the window."""
    colour: list[int] = browser.run(
        f"(({{ data, width }}, {{ left, top }}) => "
        f"[...data.slice(4 * (Math.round({y} - top) * width + Math.round({x} - left))).slice(0, 4)])"
        f"({PIXELS}, tree.getBoundingClientRect())"
    )
    return colour


@pytest.mark.parametrize("value", [0.0, 0.4, 0.906, 0.952, 1.0])
def test_a_value_has_the_same_colour_in_every_tree(browser: Browser, tmp_path: Path, value: float) -> None:
    expected, seen = bytes.fromhex(colour(value)[0][1:]), []
    for other in (0.0, 0.95, 1.0):
        show(browser, tmp_path, one_node("text", "8", value, other))
        browser.resize(390, 844)
        browser.settle()
        browser.run("tree.focus()")
        browser.press("Home")
        x, y = root_place(browser)
        seen.append(colour_at(browser, x, y))
    assert seen[0] == seen[1] == seen[2]
    assert all(abs(one - other) <= 1 for one, other in zip(seen[0], [*expected, 255], strict=True))


@pytest.mark.parametrize("result", [RESULT, grown_tree(2, 200), grown_tree(3, 2)], ids=["tree", "large", "small"])
def test_the_root_is_in_view_on_a_phone(browser: Browser, tmp_path: Path, result: SearchResult) -> None:
    show(browser, tmp_path, result)
    browser.resize(390, 844)
    browser.open(tmp_path / "page.html")
    x, y = root_place(browser)
    top, bottom = browser.run("(({ top, bottom }) => [top, bottom])(tree.getBoundingClientRect())")
    assert top + 20 < y < bottom - 20
    assert content(browser, "#node-title").startswith("Node")
    # A box is at least 150 pixels wide here, and can be clicked anywhere.
    for dx in (0, 70, 140):
        go(browser, f"#node={result.best_path[-1]}")
        browser.open(tmp_path / "page.html")
        browser.click(x + dx, y)
        assert content(browser, "#node-title").startswith("Root")


CONTROLS = "[...document.querySelectorAll('header :is(button, input), #stage :is(button, input, select)')]"
SHOWN = CONTROLS + ".filter((control) => control.checkVisibility())"


def test_a_phone_has_one_row_of_controls_and_the_rest_behind_a_button(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path)
    browser.resize(390, 844)
    browser.settle()
    places = browser.run(f"{SHOWN}.map((control) => [control.id, control.getBoundingClientRect().toJSON()])")
    assert [name for name, _ in places] == ["play", "rollout", "out", "in", "fit", "more"]
    assert len({box["y"] + box["height"] / 2 for _, box in places}) == 1
    for _, box in places:
        assert 0 <= box["left"] < box["right"] <= 390
        assert min(box["height"], box["width"]) >= 44
    browser.run("document.getElementById('more').click()")
    assert browser.run("more.getAttribute('aria-expanded')") == "true"
    assert browser.run(f"{SHOWN}.length === {CONTROLS}.length")
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.run("document.getElementById('more').click()")
    assert len(browser.run(f"{SHOWN}.map((control) => control.id)")) == 6


def test_a_wide_window_shows_all_controls_and_the_legend(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path)
    hidden = browser.run(f"{CONTROLS}.filter((control) => !control.checkVisibility()).map((control) => control.id)")
    assert hidden == ["more"]
    legend = browser.run("document.getElementById('legend').innerText")
    for word in ("visits × mean value", "chosen path", "answer", "cut short", "no number", "nodes in one box"):
        assert word in legend
    assert browser.run("[...document.querySelectorAll('.tick')].map((tick) => tick.textContent)") == [
        *("0", ".5", ".7", ".8", ".9", "1")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_all_text_is_readable(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    nodes = tuple(replace(node, confidences=tuple(0.0 for _ in node.confidences)) for node in RESULT.tree)
    show(browser, tmp_path, replace(RESULT, tree=nodes))
    browser.resize(width, 800)
    browser.prefer(scheme)
    browser.run("document.getElementById('more').click()")
    browser.run("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    browser.settle()
    assert browser.run(UNREADABLE) == []


def test_dark_and_light(browser: Browser, tmp_path: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    show(browser, tmp_path)
    light = browser.run(background)
    painted = browser.run("tree.toDataURL()")
    browser.prefer("dark")
    browser.settle()
    assert browser.run(background) == "rgb(22, 24, 28)"
    assert light == "rgb(255, 255, 255)"
    assert browser.run("tree.toDataURL()") != painted
    browser.run("theme.click()")
    assert browser.run(background) == light
    browser.run("theme.click()")
    assert browser.run(background) == "rgb(22, 24, 28)"
    for colour_by in ("confidence", "visits", "value"):
        browser.run(
            f"(({{}}) => {{ const by = document.getElementById('colour-by'); by.value = '{colour_by}';"
            "by.dispatchEvent(new Event('change')); })({})"
        )
        browser.settle()


@pytest.mark.parametrize(
    ("width", "height"),
    [(360, 640), (390, 844), (844, 390), (760, 500), (2400, 1300)],
    ids=["small phone", "phone", "phone on its side", "half", "wide"],
)
def test_nothing_sticks_out_of_any_window(browser: Browser, tmp_path: Path, width: int, height: int) -> None:
    sum_of_many = "\\(" + "+".join(["x"] * 200) + "\\)"
    nodes = tuple(replace(node, text=sum_of_many, token_ends=()) if node.id else node for node in RESULT.tree)
    show(browser, tmp_path, replace(RESULT, question="q" * 700, answer="a" * 500, tree=nodes))
    browser.resize(width, height)
    browser.settle()
    assert browser.run("document.querySelectorAll('#chain math').length") > 0
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.documentElement.scrollHeight") <= height
    sideways = "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('aside'))"
    assert browser.run(sideways) <= 0
    assert browser.run("tree.clientHeight") > 100
    assert ink(browser) > 1000
