"""`marcot search --tree`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine.view import read_tree

QUICK = ["--rollouts", 3, "--max-rollout-tokens", 6, "--action", "mini-step-2", "--width", 2]


@pytest.fixture
def search(marcot: Callable, talker: Path) -> Callable:
    return lambda *arguments, **options: marcot("search", "--model", talker, *QUICK, *arguments, **options)


def test_json_has_every_token_of_what_was_printed(search: Callable, tmp_path: Path) -> None:
    ended = search("--json", "--tree", tmp_path / "out.json", "How many clips?")
    assert ended.code == 0
    assert f"the tree is in {tmp_path / 'out.json'}" in ended.err
    [printed] = ended.objects
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert written["rollouts"] == printed["rollouts"]
    assert written["settings"] == printed["settings"]
    for node, line in zip(written["tree"]["nodes"], printed["tree"]["nodes"], strict=True):
        assert {name: node[name] for name in line} == line
        assert len(node["token_ids"]) == len(node["token_texts"]) == len(node["confidences"]) == node["tokens"]
        assert "".join(node["token_texts"]) == node["text"]
    assert read_tree(tmp_path / "out.json").answer == printed["answer"]


@pytest.mark.parametrize("ending", ["html", "dot"])
def test_page_and_graph(search: Callable, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    assert search("--tree", path, "How many clips?").code == 0
    assert "How many clips?" in path.read_text(encoding="utf-8")


def test_a_file_of_questions_gives_a_file_each(search: Callable, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("One?\nTwo?\n", encoding="utf-8")
    ended = search("--input", tmp_path / "q.txt", "--tree", tmp_path / "out.json")
    assert ended.code == 0
    found = {path.name: read_tree(path).question for path in tmp_path.glob("out*")}
    assert found == {"out-0001.json": "One?", "out-0002.json": "Two?"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("out.svg", "ends in .html, .dot, .json"), ("out", "ends in"), ("none/out.html", "cannot be written")],
)
def test_a_bad_place_is_an_error_before_anything_is_loaded(
    marcot: Callable, tmp_path: Path, name: str, message: str
) -> None:
    ended = marcot("search", "--model", tmp_path / "no-such-model", "--tree", tmp_path / name, "How many clips?")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "no-such-model" not in ended.err


def test_the_tree_leaves_results_as_they_are(search: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert search("One?", "--out", out).code == 0
    again = search("One?", "--out", out, "--tree", tmp_path / "out.html")
    assert (again.code, "no tree is written for them" in again.err) == (0, True)
    assert not (tmp_path / "out.html").exists()
