"""The page of a search, open in a browser."""

from __future__ import annotations

import json
from pathlib import Path

from marcot.engine import SearchResult
from marcot.engine.search import Rollout, TreeNode
from marcot.engine.view import to_page
from support.programs.headless_browser import Browser
from support.searches.grown_tree import grown_tree

RESULT = grown_tree(11, 14)


def show(browser: Browser, folder: Path, result: SearchResult = RESULT, fragment: str = "") -> None:
    """Open the page of `result` in a window of normal size."""
    path = folder / "page.html"
    path.write_text(to_page(result, {"model": "toy", "sampling": {"seed": 1}}), encoding="utf-8")
    browser.resize(1300, 800)
    browser.prefer("light")
    browser.open(path, fragment)


def content(browser: Browser, selector: str) -> str:
    """The text of the element that `selector` finds."""
    text: str = browser.run(f"document.querySelector({json.dumps(selector)}).textContent")
    return text


def go(browser: Browser, fragment: str) -> None:
    browser.run(f"location.hash = {json.dumps(fragment)}; new Promise((done) => setTimeout(done))")
    browser.settle()


def ink(browser: Browser) -> int:
    """The number of painted pixels of the canvas."""
    pixels: int = browser.run(
        "(() => { const { data } = tree.getContext('2d').getImageData(0, 0, tree.width, tree.height);"
        "let count = 0; for (let at = 3; at < data.length; at += 4) count += data[at] > 0; return count; })()"
    )
    return pixels


def one_node(text: str, answer: str = "", value: float = 0.9, other: float = 0.9) -> SearchResult:
    """A root with two children: the chosen one with `text` and `value`, and one with the value `other`."""
    tree = (
        TreeNode(0, None, "", 2, value, 0),
        TreeNode(1, 0, text, 1, value, 1, "step"),
        TreeNode(2, 0, "other", 1, other, 1, "step"),
    )
    rollouts = (Rollout(text, value, answer, 1, "eos", 1), Rollout("other", other, "0", 1, "length", 2))
    return SearchResult("How many?", answer, text, value, 0.5, rollouts, tree, (0, 1))


PIXELS = """(() => {
  const pen = new OffscreenCanvas(tree.width, tree.height).getContext("2d", { willReadFrequently: true });
  pen.drawImage(tree, 0, 0);
  return pen.getImageData(0, 0, tree.width, tree.height);
})()"""
"""The pixels that the canvas shows."""


def root_place(browser: Browser) -> tuple[float, float]:
    """A point on the root's box, the leftmost box: near its left edge, at half its height."""
    browser.settle()
    left, top, column, middle = browser.run(
        f"""(() => {{
        const {{ data, width, height }} = {PIXELS};
        const all = Array.from({{ length: height }}, (_, y) => y);
        const painted = (x) => all.filter((y) => data[4 * (y * width + x) + 3] > 0);
        const {{ left, top }} = tree.getBoundingClientRect();
        for (let x = 0; x < width; x++) {{
          const rows = painted(x);
          if (rows.length) return [left, top, x, (rows[0] + rows.at(-1)) / 2];
        }}
        }})()"""
    )
    return left + column + 8, top + middle
