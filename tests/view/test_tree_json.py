from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from grown_tree import grown_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import InputError, SearchResult
from marcot.engine.view import read_tree, to_json

NAN = math.nan


def same(one: SearchResult, other: SearchResult) -> bool:
    """Equality in which a NaN equals a NaN."""
    return repr(asdict(one)) == repr(asdict(other))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), rollouts=st.integers(1, 8))
def test_it_reads_back_what_it_wrote(tmp_path_factory: pytest.TempPathFactory, seed: int, rollouts: int) -> None:
    path = tmp_path_factory.mktemp("tree") / "out.json"
    result = grown_tree(seed, rollouts)
    path.write_text(to_json(result, {}), encoding="utf-8")
    assert same(read_tree(path), result)


def test_layout(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    result = grown_tree(4, 5)
    tree = (*result.tree[:-1], replace(result.tree[-1], value=NAN))
    text = to_json(replace(result, tree=tree, value=math.inf), {"model": "toy", "sampling": {"seed": 1}})
    entry: dict[str, Any] = json.loads(text, parse_constant=refuse)
    assert (entry["format"], entry["version"]) == ("marcot-tree", 1)
    assert entry["settings"] == {"model": "toy", "sampling": {"seed": 1}}
    assert entry["value"] is None
    nodes = entry["tree"]["nodes"]
    names = ("id", "parent", "text", "visits", "value", "tokens", "kind", "token_ids", "confidences", "token_texts")
    assert set(names) <= set(nodes[0])
    assert nodes[-1]["value"] is None
    for node, given_node in zip(nodes, tree, strict=True):
        assert len(node["token_ids"]) == len(node["confidences"]) == len(node["token_texts"])
        assert "".join(node["token_texts"]) == node["text"] == given_node.text
        assert [number is None for number in node["confidences"]] == [each is None for each in given_node.confidences]
    assert entry["rollouts"][0]["leaf"] == result.rollouts[0].leaf


def test_halves_of_surrogate_pairs_survive(tmp_path: Path) -> None:
    result = replace(grown_tree(4, 2), question="half \ud83c of a tree", answer="\udf33\0")
    (tmp_path / "out.json").write_bytes(to_json(result, {}).encode())
    assert same(read_tree(tmp_path / "out.json"), result)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a tree of marcot search"),
        ('{"question": "x"}', "is not a tree of marcot search"),
        ('{"question": "x"}\n{"question": "y"}\n', "is not JSON: .*; results of --json and --out are lines of JSON"),
        ('{"question": "x", "tree": {"nodes": []}}\n', "is not a tree of .*; results of --json and --out are lines"),
        (
            "<!doctype html>\n<p>",
            "is not JSON: .*; a page shows a tree, and --tree FILE.json writes one",
        ),
        ("\xff", "is not JSON"),
        ('{"format": "marcot-tree", "version": 99}', "has layout 99"),
        ('{"format": "marcot-tree", "version": 1}', "is damaged"),
    ],
    ids=["torn", "list", "other", "lines", "line", "page", "letters", "newer", "empty"],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "in.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_tree(tmp_path / "in.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_tree(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_tree(tmp_path)
    with pytest.raises(InputError, match="path=3: must be the name of a file"):
        read_tree(3)  # type: ignore[arg-type]


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    result = grown_tree(4, 2)
    (tmp_path / "out.json").write_text(to_json(result, {}), encoding="utf-8")
    assert same(read_tree(str(tmp_path / "out.json")), result)
