"""Trees written as JSON and read again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import InputError, SearchResult
from marcot.engine.view import read_tree, to_dot, to_json
from support.searches.deep_tree import deep_tree, wide_tree
from support.searches.grown_tree import grown_tree

NAN = math.nan


def same(one: SearchResult, other: SearchResult) -> bool:
    """Equality where NaN equals NaN."""
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
        ('{"format": "marcot-tree", "version": 1}', r"tree\.nodes is missing: this field is required"),
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


@pytest.mark.parametrize(
    "result", [deep_tree(3000), deep_tree(3000, branches=False), wide_tree(3000)], ids=["deep", "chain", "wide"]
)
def test_a_tree_of_any_shape_is_written_and_read(tmp_path: Path, result: SearchResult) -> None:
    path = tmp_path / "out.json"
    path.write_text(to_json(result, {}), encoding="utf-8")
    assert read_tree(path) == result
    assert to_dot(result).count(" -> ") == len(result.tree) - 1


BROKEN: dict[str, tuple[tuple[str | int, ...], object, str]] = {
    "cycle": (("tree", "nodes", 1, "parent"), 2, r"tree\.nodes\[1\]\.parent is 2: must be a whole number from 0 to 0"),
    "own parent": (("tree", "nodes", 2, "parent"), 2, r"tree\.nodes\[2\]\.parent is 2"),
    "second root": (("tree", "nodes", 2, "parent"), None, r"tree\.nodes\[2\]\.parent is None: this field is required"),
    "parent of the root": (("tree", "nodes", 0, "parent"), 0, r"tree\.nodes\[0\]\.parent is 0: the root has none"),
    "parent of a kind": (("tree", "nodes", 2, "parent"), True, r"parent is True: must be a whole number"),
    "place": (("tree", "nodes", 2, "id"), 1, r"tree\.nodes\[2\]\.id is 1"),
    "no tree": (("tree",), [], r"tree is \[\]: must be an object"),
    "no nodes": (("tree", "nodes"), [], "must have at least one node"),
    "node": (("tree", "nodes", 0), 3, r"tree\.nodes is .*: must be a list of objects"),
    "visits": (("tree", "nodes", 1, "visits"), -1, r"visits is -1"),
    "text": (("tree", "nodes", 1, "text"), 1.5, "text is 1.5: must be a string"),
    "ids": (("tree", "nodes", 1, "token_ids"), "12", "token_ids is '12': must be a list of whole numbers"),
    "fewer confidences": (("tree", "nodes", 1, "confidences"), [], "must be one for each token"),
    "texts": (("tree", "nodes", 1, "token_texts", 0), "other", "must be one for each token, and add up"),
    "huge value": (("value",), 10**400, "value is 1000.*: must be a finite number"),
    "leaf": (("rollouts", 0, "leaf"), 10**6, r"rollouts\[0\]\.leaf is 1000000"),
    "reason": (("rollouts", 0, "finish_reason"), "bored", "must be one of eos, stop, length"),
    "path": (("best_path", 0), 1, "must lead from the root to a node"),
    "path to nowhere": (("best_path",), [99999], "must be a list of whole numbers"),
    "stats": (("stats",), {"wall_s": 1}, r"stats\.generated_tokens is missing: this field is required"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_field_is_checked_and_named(tmp_path: Path, name: str) -> None:
    (*way, last), value, message = BROKEN[name]
    entry = json.loads(to_json(grown_tree(4, 5), {}))
    inner: Any = entry
    for key in way:
        inner = inner[key]
    inner[last] = value
    (tmp_path / "in.json").write_text(json.dumps(entry))
    with pytest.raises(InputError, match=rf"in\.json: .*{message}"):
        read_tree(tmp_path / "in.json")


def test_settings_are_what_json_can_have() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    odd: list[dict[Any, Any]] = [{"a": {1, 2}}, {(1,): 2}, deep]
    for each in odd:
        with pytest.raises(InputError, match=r"settings: are (not JSON|nested too deeply)"):
            to_json(grown_tree(4, 2), each)
