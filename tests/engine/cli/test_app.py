"""Help, completion, and the names and defaults of all options."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path

import marcot as package
import pytest
from marcot.engine import MCTS, Sampling
from marcot.engine.cli.app import app
from marcot.engine.cli.commands.generate import generate
from marcot.engine.cli.commands.search import search
from marcot.engine.cli.options.sampling import SamplingOptions
from marcot.engine.errors import RenamedWarning
from typer.main import get_command

COMMANDS = ["search", "generate", "score", "models", "eval", "compare", "dataset", "serve", "bench"]


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, marcot.engine.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
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


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_has_a_short_name(marcot: Callable, command: tuple[str, ...]) -> None:
    assert marcot(*command, "-h") == marcot(*command, "--help")


def test_the_version_is_printed(marcot: Callable) -> None:
    assert marcot("--version") == (0, f"marcot {package.__version__}\n", "")


@pytest.mark.parametrize(
    ("typed", "found"),
    [("marcot sea", "search\n"), ("marcot search --max-r", "--max-rollout-tokens\n"), ("marcot --vers", "--version\n")],
)
def test_a_shell_completes_commands_and_options(typed: str, found: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_MARCOT_COMPLETE": "complete_bash"}
    program = Path(sys.executable).with_name("marcot")
    ended = subprocess.run([program], env=os.environ | words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, found, "")


WRITTEN = ("stop", "stop_token_ids", "logit_bias", "allowed_token_ids", "bad_words")
"""Parameters that are lists or mappings in Python, and have a notation of their own on the command line."""


def test_options_that_are_written_otherwise_default_to_the_same() -> None:
    assert SamplingOptions().sampling() == Sampling()


@pytest.mark.parametrize(("command", "noun"), [(search, Sampling), (generate, Sampling)])
def test_options_default_to_what_the_library_defaults_to(command: Callable, noun: type) -> None:
    options = inspect.signature(command).parameters
    shared = [each for each in fields(noun) if each.name in options and each.name not in WRITTEN]
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


def options_of(command: str) -> set[str]:
    return {name for parameter in get_command(app).commands[command].params for name in parameter.opts}  # type: ignore[attr-defined]


def test_one_thing_has_one_name() -> None:
    """Options that commands share have one name everywhere, and none of the earlier names."""
    for command in COMMANDS:
        assert not options_of(command) & {
            "--models",
            "--strategies",
            "--data",
            "--prompts",
            "--budget-tokens",
            "--lead",
            "--patience",
        }
    for command in ("search", "eval", "compare"):
        shared = {"--input", "--questions", "--model", "--strategy", "--max-tokens", "--instruction", "--system"}
        assert shared <= options_of(command)
    assert "--top-k" not in options_of("score")
    assert "--top-logprobs" in options_of("score") & options_of("generate")


MARGIN, LEAD = ("--vote-margin", "3", "--convergence-window", "2"), ("--lead", "3", "--patience", "2")
SMALL = ("--max-rollout-tokens", "4", "--json")
COMPARE = ("compare", "-m", "M", "--out", "O.json")
NAMES = {
    "search": (
        ["search", "--model", "M", "--input", "Q", "--strategy", "greedy", "--max-tokens", "9", *MARGIN, *SMALL],
        ["search", "--models", "M", "--data", "Q", "--strategies", "greedy", "--budget-tokens", "9", *LEAD, *SMALL],
    ),
    "eval": (
        ["eval", "-m", "M", "--input", "Q", "--strategy", "greedy", "--max-tokens", "4", "--json"],
        ["eval", "--models", "M", "--data", "Q", "--strategies", "greedy", "--budget-tokens", "4", "--json"],
    ),
    "compare": (
        [*COMPARE, "--input", "Q", "--strategy", "greedy", "--max-tokens", "4"],
        [COMPARE[0], "--models", *COMPARE[2:], "--prompts", "Q", "--strategies", "greedy", "--budget-tokens", "4"],
    ),
    "score": (
        ["score", "-m", "M", "How many?", "--top-logprobs", "2", "--json"],
        ["score", "-m", "M", "--text", "How many?", "--top-k", "2", "--json"],
    ),
}


@pytest.mark.parametrize(("now", "before"), NAMES.values(), ids=NAMES)
def test_older_names_are_taken(
    marcot: Callable, talker: Path, tmp_path: Path, now: list[str], before: list[str]
) -> None:
    questions = tmp_path / "q.tsv"
    questions.write_text("How many?\t3\nHow much?\t4\n", encoding="utf-8")
    places = {"M": str(talker), "Q": str(questions), "O.json": str(tmp_path / "o.json")}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RenamedWarning)
        ends = [marcot(*(places.get(word, word) for word in now))]
    with pytest.warns(RenamedWarning, match="works until 0.2"):
        ends.append(marcot(*(places.get(word, word) for word in before)))
    assert [end.code for end in ends] == [0, 0]
    first, second = ([re.sub(r'"(wall_s|tokens_per_s|seconds)": [^,}]*', "", end.out)] for end in ends)
    assert first == second


def test_a_terminal_gets_the_warning_in_a_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "marcot", "search", "--model", str(tmp_path), "--lead", "3", "How many?"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[0] == "warning: --lead is now called --vote-margin; the old name works until 0.2"
