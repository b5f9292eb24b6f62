from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from marcot.engine import MCTS, Sampling
from marcot.engine.cli.generate import generate
from marcot.engine.cli.search import search


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, marcot.engine.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", ["search", "generate", "score", "models", "eval", "compare"])
def test_help_teaches_by_example(marcot: Callable, command: str) -> None:
    ended = marcot(command, "--help")
    assert ended.code == 0
    assert "For example:" in ended.out
    assert f"marcot {command}" in ended.out


def test_without_arguments_there_is_help(marcot: Callable) -> None:
    ended = marcot()
    assert (ended.code, ended.err) == (2, "")
    assert "Usage: " in ended.out
    assert "search" in ended.out


@pytest.mark.parametrize(("command", "noun"), [(search, Sampling), (generate, Sampling)])
def test_options_default_to_what_the_library_defaults_to(command: Callable, noun: type) -> None:
    options = inspect.signature(command).parameters
    shared = [each for each in fields(noun) if each.name in options and each.name not in ("stop", "stop_token_ids")]
    assert len(shared) >= 5
    for each in shared:
        if not (command is search and noun is Sampling and each.name == "max_tokens"):
            assert each.default is not MISSING
            assert options[each.name].default == each.default, each.name


def test_a_search_leaves_to_its_strategy_what_is_not_asked_for() -> None:
    options = inspect.signature(search).parameters
    own = [field.name for field in fields(MCTS) if field.name not in ("sampling", "kw_only")]
    assert {name: options[name].default for name in own} == dict.fromkeys(own)


def test_a_reader_that_goes_away_ends_it_quietly(mute: Path) -> None:
    command = [sys.executable, "-m", "marcot.engine.cli", "generate", "--model", str(mute), "--token-ids", "5"]
    pipe = subprocess.Popen(
        [*command, "-n", "40", "--max-tokens", "2", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert pipe.stdout is not None
    assert pipe.stderr is not None
    pipe.stdout.close()
    errors = pipe.stderr.read()
    pipe.stderr.close()
    assert pipe.wait(timeout=120) == 1
    assert errors == b""
