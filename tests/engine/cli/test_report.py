"""What `marcot search` prints about a result."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from marcot.engine import SearchResult
from marcot.engine.cli.report import print_report
from marcot.engine.search import Rollout, TreeNode
from support.searches.deep_tree import deep_tree, wide_tree

RESULT = SearchResult(
    question="Six\nplus two?",
    answer="8 [bold]",
    text="We add.\n\nIt is 8.\n",
    value=0.8,
    confidence=0.625,
    rollouts=(
        Rollout("We add.\n\nIt is 8.\n", 0.8, "8 [bold]", 9, "eos", 2),
        Rollout("We add.\n\nIt is 9.\n\nYes.", 0.5, "9", 9, "eos", 4),
        Rollout("No.", 0.7, "No", 2, "eos", 5),
    ),
    tree=(
        TreeNode(0, None, "", 3, 2 / 3, 0),
        TreeNode(1, 0, "We add.\n\n", 2, 0.65, 3),
        TreeNode(2, 1, "It is 8.\n", 1, 0.8, 6),
        TreeNode(3, 1, "It is 9.\n\n", 1, 0.5, 4),
        TreeNode(4, 3, "Yes." + " Yes." * 60, 1, 0.5, 2),
        TreeNode(5, 0, "No.", 1, 0.7, 2),
    ),
    best_path=(0, 1, 2),
)


def test_it_shows_what_was_added_to_the_question() -> None:
    out = io.StringIO()
    print_report(replace(RESULT, instruction="Think \x1b[1mhard."), out)
    assert out.getvalue().splitlines()[3] == "instruction Think ␛[1mhard."


def test_it_shows_answer_chain_and_tree_of_one_line_per_node() -> None:
    out = io.StringIO()
    print_report(RESULT, out)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[:3] == ["answer      8 [bold]", "confidence  0.62, 1 of 3 chains", "value       0.800"]
    assert lines[4:7] == ["We add.", "", "It is 8."]
    assert lines[7].startswith("tree: visits, mean value, [answer], text")
    assert lines[8:13] == [
        "*  3  0.667  Six plus two?",
        "├── *  2  0.650  We add.",
        "│   ├── *  1  0.800  [8 [bold]]  It is 8.",
        lines[11],
        "└──    1  0.700  [No]  No.",
    ]
    assert lines[11].startswith("│   └──    1  0.500  [9]  It is 9. Yes. Yes.")
    assert lines[11].endswith("…")
    assert lines[-1] == "3 rollouts, 6 nodes"
    assert max(map(len, lines)) <= 120


def test_what_is_too_deep_for_its_width_is_counted() -> None:
    out = io.StringIO()
    print_report(deep_tree(40), out)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) == 120
    assert any(line.endswith("└── + 32 nodes") for line in lines)
    assert sum("step" in line or "other" in line for line in lines) + 32 == 80


@pytest.mark.parametrize(
    "result", [deep_tree(5000), deep_tree(5000, branches=False), wide_tree(5000)], ids=["deep", "chain", "wide"]
)
def test_no_shape_of_a_tree_is_too_much(result: SearchResult) -> None:
    out = io.StringIO()
    print_report(result, out)
    assert f"{len(result.tree)} nodes" in out.getvalue()


def test_counts_that_do_not_add_up_are_drawn_as_they_are() -> None:
    result = deep_tree(2)
    out = io.StringIO()
    print_report(replace(result, tree=tuple(replace(node, visits=1) for node in result.tree)), out)
    assert "other 1" in out.getvalue()
