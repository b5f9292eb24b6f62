"""Tree pages as files: what they contain and what they must not."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from marcot.engine.view import to_page
from support.searches.grown_tree import grown_tree
from support.searches.hostile_text import HOSTILE, everywhere


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def data(page: str) -> dict:
    [content] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(content)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_text_adds_no_element_and_arrives_as_it_is(text: str) -> None:
    page = to_page(everywhere(text), {text: text})
    tame = to_page(everywhere("tame"), {})
    assert Elements(page).tags[5:] == Elements(tame).tags[5:]
    page.encode()
    found = data(page)["result"]
    assert (found["question"], found["answer"], found["settings"]) == (text, text, {text: text})
    assert found["tree"]["nodes"][-1]["text"].startswith(text)


def test_it_refers_to_nothing_outside() -> None:
    page = to_page(grown_tree(1, 3), {})
    for tag, attributes in Elements(page).tags:
        assert tag not in ("link", "img", "iframe", "base", "object", "embed")
        assert not {"src", "href", "style", "srcset", "action"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.findall(
        r"https?:|url\(|@import|\bimport\(|fetch\(|innerHTML|outerHTML|insertAdjacentHTML|eval\(", page
    )


def test_its_policy_allows_its_own_script_and_style_only() -> None:
    page = to_page(grown_tree(1, 3), {})
    elements = Elements(page)
    [policy] = [tag["content"] for name, tag in elements.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    [script] = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)

    def digest(source: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() + "'"

    assert policy == f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)}"


def test_formulas_are_in_it_once_however_often_they_occur() -> None:
    tree = grown_tree(1, 3)
    nodes = tuple(replace(node, text="🌳 \\(x^2\\)" if node.id else "") for node in tree.tree)
    found = data(to_page(replace(tree, question="\\(x^2\\)?", answer="x^2", rollouts=(), tree=nodes), {}))
    assert len(found["markups"]) == 1
    # Positions are counted in UTF-16 code units, and the tree emoji has two.
    assert found["formulas"] == {"🌳 \\(x^2\\)": [[3, 10, 0]], "\\(x^2\\)?": [[0, 7, 0]], "x^2": [[0, 3, 0]]}


def test_the_same_search_gives_the_same_page() -> None:
    script = (
        "from support.searches.grown_tree import grown_tree; from marcot.engine.view import to_page; import sys;"
        "sys.stdout.buffer.write(to_page(grown_tree(2, 20), {}).encode())"
    )
    pages = set()
    for seed in ("1", "2"):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(Path(grown_tree.__code__.co_filename).parents[2]),
        }
        pages.add(
            subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True).stdout
        )
    assert len(pages) == 1


def test_every_control_has_a_name() -> None:
    page = to_page(grown_tree(1, 3), {})
    for control in re.findall(r"<(?:button|input|canvas)\b[^>]*>[^<]*", page):
        assert "aria-label=" in control or re.search(r">\s*[A-Za-z]{2}", control), control
