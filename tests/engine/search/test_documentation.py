"""The examples of docs/search.md, run as they are printed there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS
from marcot.engine.search import ANSWER_RULES, STRATEGIES, VALUES, SearchResult
from marcot.engine.search.actions import resolve_action
from support.searches.toy_world import ToyWorld, hashed_draw

PAGE = (Path(__file__).parents[3] / "docs" / "search.md").read_text(encoding="utf-8")
EXAMPLES = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "\nstrategy = " in block]


def run(example: str) -> SearchResult:
    names: dict[str, Any] = {"MCTS": MCTS}
    exec(example, names)
    return ToyWorld(hashed_draw()).run(names["strategy"])


@pytest.mark.parametrize("example", EXAMPLES, ids=["value", "answer-rule", "action", "strategy", "slow-value"])
def test_each_example_searches(example: str) -> None:
    assert len(run(example).rollouts) == 6


def test_the_examples_do_what_the_page_says() -> None:
    value, rule, action, strategy, slow = map(run, EXAMPLES)
    assert {rollout.value for rollout in slow.rollouts} <= {0.0, 1.0}
    assert value.rollouts[0].value == pytest.approx(1 / (1 + value.rollouts[0].tokens / 100))
    chosen = next(rollout for rollout in rule.rollouts if rollout.leaf == rule.best_path[-1])
    assert chosen.tokens == min(rollout.tokens for rollout in rule.rollouts)
    assert {node.kind for node in action.tree[1:]} == {"sentence"}
    assert any(node.text.endswith(".") for node in action.tree)
    first = {node.id: node.visits for node in strategy.tree if node.parent == 0}
    assert sum(visits > 1 for visits in first.values()) == 1


def test_the_command_line_finds_the_examples_in_a_file(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from marcot import MCTS\n" + "\n".join(EXAMPLES), encoding="utf-8")
    [command] = re.findall(r"```sh\n(marcot search [^`]*mine:[^`]*)```", PAGE)
    words = shlex.split(command.replace("\\\n", ""))[1:]
    words[words.index("qwen2.5-coder-0.5b")] = str(tiny_checkpoint("qwen2", tokenizer=True))
    program = [Path(sys.executable).with_name("marcot"), *words, "--max-rollout-tokens", "4", "--json"]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    settings = json.loads(ended.stdout)["settings"]
    assert {name: settings[name] for name in ("strategy", "tries", "action", "value", "answer_rule")} == {
        "strategy": "first-step",
        "tries": 3,
        "action": "mine:Sentence",
        "value": "mine:short_is_good",
        "answer_rule": "mine:the_shortest",
    }


def test_the_page_names_every_choice() -> None:
    section = dict(re.findall(r"^## (\w+)[^\n]*\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
    assert set(re.findall(r"^\| `([\w-]+)` \|", section["Strategies"], re.MULTILINE)) == set(STRATEGIES)
    assert set(VALUES) <= set(re.findall(r"`([\w-]+)`", section["Values"]))
    assert set(ANSWER_RULES) <= set(re.findall(r"`([\w-]+)`", section["Answer"]))
    for name in ("step", "mini-step-64", "token", "uncertain-8", "marco-v2"):
        assert f"`{name}`" in section["Actions"]
        assert resolve_action(name).name == name
