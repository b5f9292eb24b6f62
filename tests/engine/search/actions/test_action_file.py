"""Actions declared in TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest
from marcot.engine.errors import InputError
from marcot.engine.search import MCTS
from marcot.engine.search.actions import read_actions
from support.searches.toy_world import ToyWorld, hashed_draw

TREE = r"""
start = { thinking = 2 }
longest = 5
back_off = 1
retry = "thinking"

[kinds.thinking]
openings = ["", "Let me think.\n"]
tags = ["<thinking>", "</thinking>"]
close = ["\n\n"]
followers = { answer = 1 }
max_tokens = 6

[kinds.answer]
openings = ["So "]
"""


def test_a_file_declares_an_action(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TREE)
    actions = read_actions(path)
    assert actions.name == str(path)
    assert actions.width([]) == 2
    first = actions.prompt([], 1)
    assert (first.text, first.close, first.max_tokens) == ("<thinking>\nLet me think.\n", ("\n\n", "</thinking>"), 6)
    assert actions.prompt(["thinking"], 0).final
    backtrack = actions.backtrack()
    assert backtrack is not None
    assert (backtrack[0], backtrack[1].kind) == (1, "thinking")
    result = ToyWorld(hashed_draw()).run(MCTS(rollouts=5, action=str(path), max_rollout_tokens=30))
    assert {node.kind for node in result.tree[1:]} == {"thinking", "answer"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start = ", "is not TOML"),
        ("start = { a = 1 }", r"has no kinds; declare one as \[kinds.NAME\]"),
        ("kinds = 3", "has no kinds"),
        ("begin = 1\n[kinds.a]", "the tree has unknown keys: begin; use back_off, kinds, longest, retry, start"),
        ("[kinds.a]\nopening = 'x'", "kinds.a has unknown keys: opening; use close"),
        ("[kinds.a]\ntags = ['<a>']", "kinds.a.tags must be two texts"),
        ("[kinds.a]\nopenings = 'x'", "kinds.a.openings must be a list of texts"),
        ("[kinds.a]\nmax_tokens = 0", "kind 'a': max_tokens=0: must be an integer >= 1"),
        ("[kinds.a]\nmax_tokens = -1", "kinds.a.max_tokens must be a whole number, not -1"),
        ("start = 1\n[kinds.a]", "start must be a table"),
        ("back_off = 1\nretry = ['a']\nstart = { a = 1 }\n[kinds.a]", r"as retry, not \['a'\]"),
        ("start = { b = 1 }\n[kinds.a]", "'b', which is not declared"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_actions(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.toml: cannot be read"):
        MCTS(action=str(tmp_path / "gone.toml"))
