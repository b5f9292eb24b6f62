"""A checkpoint whose numbers are not finite ends every command with its own exit code, and no number is made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

EXIT_CODE = 6


@pytest.fixture(scope="module", params=["stored", "computed"])
def damaged(request: pytest.FixtureRequest, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a NaN, or with finite numbers that overflow."""
    folder: Path = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(talker, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan") if request.param == "stored" else 3.4e38
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


COMMANDS: dict[str, tuple[Any, ...]] = {
    "generate": ("generate", "--max-tokens", 3, "--json", "How many"),
    "generate-greedy": ("generate", "--max-tokens", 3, "--temperature", 0, "--json", "How many"),
    "generate-streamed": ("generate", "--max-tokens", 3, "--top-k", 0, "--top-p", 1, "How many"),
    "score": ("score", "--json", "How many clips?"),
    "search": ("search", "--rollouts", 2, "--json", "How many clips?"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command(marcot: Callable, damaged: Path, command: tuple[Any, ...]) -> None:
    name, *options = command
    ended = marcot(name, "--model", damaged, *options)
    assert ended.code == EXIT_CODE
    assert "model.norm.weight" in ended.err or "gives numbers that are not finite" in ended.err
    for line in ended.out.splitlines():
        assert not _logprobs(json.loads(line))


def test_an_evaluation(marcot: Callable, damaged: Path, tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "How many clips?", "answer": "72"}\n', encoding="utf-8")
    ended = marcot("eval", "--model", damaged, "--input", questions, "--strategy", "greedy", "--out", tmp_path / "out")
    assert ended.code == EXIT_CODE


def _logprobs(found: Any) -> bool:
    """Whether an object contains log-probabilities anywhere; settings have a plain number of a similar name."""
    if isinstance(found, dict):
        named = (value for name, value in found.items() if name.endswith("logprobs"))
        return any(isinstance(value, list) for value in named) or any(map(_logprobs, found.values()))
    return isinstance(found, list) and any(map(_logprobs, found))
