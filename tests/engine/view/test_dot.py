"""Trees as Graphviz files."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from marcot.engine import SearchResult
from marcot.engine.search import Rollout, TreeNode
from marcot.engine.view import to_dot
from marcot.engine.view.scale import colour
from support.programs import system_tools
from support.searches.grown_tree import grown_tree

HOSTILE = (
    'say "hi"',
    "back\\slash\\",
    "\\N \\l \\E",
    "&lt;b&gt; &amp; <b>",
    "a\0b\x1b[31m\u202e",
    "half \ud83c",
    "}; x -> y {",
    "",
)


def drawn(source: str) -> dict[str, Any]:
    """The graph as Graphviz parses it, with its layout."""
    if reason := system_tools.missing("dot"):
        pytest.skip(reason)
    finished = subprocess.run(
        ["dot", "-Tjson"], input=source.encode(errors="replace"), capture_output=True, check=False
    )
    assert (finished.returncode, finished.stderr.decode()) == (0, "")
    graph: dict[str, Any] = json.loads(finished.stdout)
    return graph


def words(shape: dict[str, Any]) -> list[str]:
    """The painted lines."""
    return [each["text"] for each in shape["_ldraw_"] if each["op"] == "T"]


def hostile(text: str) -> SearchResult:
    return SearchResult(
        question=text,
        answer=text,
        text=text,
        value=0.5,
        confidence=1.0,
        rollouts=(Rollout(text, 0.5, text, 1, "eos", 1),),
        tree=(TreeNode(0, None, "", 1, 0.5, 0), TreeNode(1, 0, text, 1, None, 1, text)),
        best_path=(0, 1),
    )


def test_graphviz_draws_every_node_and_edge() -> None:
    result = grown_tree(7, 12)
    graph = drawn(to_dot(result))
    shapes = {shape["name"]: shape for shape in graph["objects"]}
    assert set(shapes) == {str(node.id) for node in result.tree}
    edges = {
        (graph["objects"][edge["tail"]]["name"], graph["objects"][edge["head"]]["name"]) for edge in graph["edges"]
    }
    assert edges == {(str(node.parent), str(node.id)) for node in result.tree if node.parent is not None}
    for node in result.tree:
        assert words(shapes[str(node.id)])[0].startswith(f"{node.visits} x {node.value:.3f}")
    for rollout in result.rollouts:
        assert f"[{rollout.answer}]" in words(shapes[str(rollout.leaf)])
    bold = {int(name) for name, shape in shapes.items() if shape.get("penwidth") == "3"}
    assert bold == set(result.best_path)
    thick = {graph["objects"][edge["head"]]["name"] for edge in graph["edges"] if edge.get("penwidth") == "3"}
    assert thick == {str(id) for id in result.best_path[1:]}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_a_model_writes_is_painted_as_it_is(text: str) -> None:
    graph = drawn(to_dot(hostile(text)))
    assert [shape["name"] for shape in graph["objects"]] == ["0", "1"]
    painted = re.sub(r"[^ -~]", "?", text)
    assert f"[{painted}]" in [line.replace("\ufffd", "?") for line in words(graph["objects"][1])]


def test_long_texts_are_cut_to_a_few_short_lines() -> None:
    long = "word " * 500 + "x" * 300
    labels = re.findall(r'label="([^"]*)"', to_dot(hostile(long)).replace('\\"', ""))
    text = [line for label in labels for line in label.split("\\n") if not line.startswith("[")]
    assert max(map(len, text[:6])) <= 36


def test_one_unbroken_word_is_shown_too() -> None:
    result = grown_tree(1, 1)
    tree = (*result.tree[:-1], replace(result.tree[-1], text="答" * 500))
    assert "答" * 20 in to_dot(replace(result, tree=tree))


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "#482475"), (1.0, "#fde725"), (-5.0, "#482475"), (9.0, "#fde725")]
)
def test_colours_span_the_scale(value: float, expected: str) -> None:
    assert colour(value)[0] == expected


def test_a_value_has_the_same_colour_in_every_tree() -> None:
    fills = []
    for other in (0.1, 0.95):
        tree = tuple(replace(node, value=0.9 if node.id else other) for node in grown_tree(1, 3).tree)
        lines = to_dot(replace(grown_tree(1, 3), tree=tree)).splitlines()
        fills.append({re.findall(r'fillcolor="(#\w+)"', line)[0] for line in lines if line.startswith("  1 [")})
    assert fills == [{colour(0.9)[0]}] * 2


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.1)."""

    def luminance(text: str) -> float:
        parts = [int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_is_readable_on_every_colour() -> None:
    assert min(contrast(*colour(value / 1000)) for value in range(1001)) >= 4.5
