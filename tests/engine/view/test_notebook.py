"""What a notebook shows for a result, and the page that the result can be saved as."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from marcot.engine import MCTS, Engine, InputError, SearchResult
from marcot.engine.view import to_notebook, to_page
from marcot.engine.view.notebook import LARGEST_PAGE
from support.programs.headless_browser import Browser
from support.searches.grown_tree import grown_tree
from support.searches.hostile_text import HOSTILE, everywhere

RESULT = replace(grown_tree(11, 14), answer="60")


class Cell(HTMLParser):
    """The start tags and the text of an output, and separately the page in its frame."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.page: str | None = None
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "iframe":
            self.page = dict(attrs)["srcdoc"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_cell_has_the_answer_its_chain_and_the_page() -> None:
    cell = Cell(RESULT._repr_html_())
    assert cell.tags == ["div", "details", "summary", "b", "pre", "iframe"]
    assert cell.text.startswith(f"60 \N{NO-BREAK SPACE} confidence 0.50, 0 of 9 chains, value {RESULT.value:.3f}, 14 ")
    assert RESULT.text.strip() in cell.text
    assert cell.page == to_page(RESULT, {})


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_gets_out_of_its_place(text: str) -> None:
    content = to_notebook(everywhere(text))
    content.encode()
    cell = Cell(content)
    assert cell.tags == ["div", "details", "summary", "b", "pre", "iframe"]
    assert cell.page == to_page(everywhere(text), {})


def test_a_tree_that_is_too_large_for_a_notebook_is_left_to_a_file() -> None:
    text = "six and two " * 1000
    tree = tuple(replace(node, text=text, token_ids=(), token_ends=()) for node in grown_tree(2, 200).tree)
    result = replace(RESULT, tree=tree)
    assert len(to_page(result, {})) > LARGEST_PAGE
    cell = Cell(to_notebook(result))
    assert "result.save_html(path)" in cell.text
    assert (cell.page, "60" in cell.text) == (None, True)
    assert len(to_notebook(result)) < 10_000


def test_it_works_in_a_real_notebook_page(browser: Browser, tmp_path: Path) -> None:
    style = "<style>* { color: white !important; font-size: 40px } canvas, aside { display: none }</style>"
    head = f"<!doctype html><html><head><meta charset=utf-8>{style}</head><body>"
    (tmp_path / "notebook.html").write_text(f"{head}{RESULT._repr_html_()}</body></html>", encoding="utf-8")
    browser.resize(1000, 760)
    browser.open(tmp_path / "notebook.html")
    inside = "document.querySelector('iframe').contentDocument"
    deadline = time.monotonic() + 60
    while not browser.run(f"{inside}.querySelector('#node-title')?.textContent"):
        assert time.monotonic() < deadline, "the tree does not come"
        time.sleep(0.05)
    leaf = RESULT.best_path[-1]
    assert browser.run(f"{inside}.querySelector('#node-title').textContent") == f"Node {leaf}, chosen"
    box = browser.run(f"{inside}.querySelector('#tree').getBoundingClientRect().toJSON()")
    assert box["width"] > 400
    assert box["height"] > 250
    press = "new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true})"
    browser.run(f"{inside}.querySelector('#tree').dispatchEvent({press})")
    assert browser.run(f"{inside}.querySelector('#node-title').textContent") != f"Node {leaf}, chosen"
    assert browser.problems == []


def test_saving_writes_the_page_of_the_command_line(tmp_path: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    engine = Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True)), kv_tokens=4096)
    [result] = engine.search("How many clips?", MCTS(rollouts=3, action="mini-step-2", max_rollout_tokens=6))
    path = result.save_html(tmp_path / "tree.html", settings={"model": "toy"})
    assert path == tmp_path / "tree.html"
    assert path.read_text(encoding="utf-8") == to_page(result, {"model": "toy"})
    result.save_html(str(tmp_path / "plain.HTML"))
    content = (tmp_path / "plain.HTML").read_text(encoding="utf-8")
    assert content == to_page(result, {})
    for node in result.tree:
        assert len(node.token_texts) == len(node.token_ids)
        assert "".join(node.token_texts) == node.text


@pytest.mark.parametrize("name", ["tree", "tree.json", "tree.htm"])
def test_saving_needs_a_name_of_a_page(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"ends in \.html"):
        RESULT.save_html(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_saving_says_where_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        RESULT.save_html(tmp_path / "none" / "tree.html")


def test_saving_replaces_such_a_page_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "tree.html"
    path.write_text("<!doctype html><title>mine</title>\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"tree\.html: exists and is not a tree of marcot search"):
        RESULT.save_html(path)
    assert path.read_text(encoding="utf-8") == "<!doctype html><title>mine</title>\n"
    path.unlink()
    replace(RESULT, answer="first").save_html(path)
    RESULT.save_html(path)
    assert path.read_text(encoding="utf-8") == to_page(RESULT, {})


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))], ids=["copy", "pickle"]
)
def test_a_result_from_elsewhere_is_shown_alike(again: Callable[[SearchResult], SearchResult]) -> None:
    assert to_notebook(again(RESULT)) == to_notebook(RESULT)
