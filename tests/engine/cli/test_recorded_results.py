"""The commands under "Repeating the numbers" in docs/evaluation.md resume from the recorded results."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine import Engine

ROOT = Path(__file__).parents[3]


def documented_commands() -> list[list[str]]:
    """The arguments of each command in the blocks, as a shell splits them."""
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition("\n## Repeating the numbers\n")[2], flags=re.MULTILINE)[0]
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL))
    echo = 'marcot() { printf "%s\\0" "$@"; echo; }\n'
    printed = subprocess.run(["bash", "-eu", "-c", echo + blocks], capture_output=True, text=True, check=True).stdout
    return [line.split("\0")[:-1] for line in printed.splitlines()]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the recorded results."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copytree(ROOT / "bench" / "results", folder / "bench" / "results")
    return folder


def test_there_are_as_many_commands_as_before() -> None:
    assert len(documented_commands()) >= 9


@pytest.mark.parametrize("command", documented_commands(), ids=lambda words: Path(words[-1]).name)
def test_what_is_recorded_needs_no_model(
    marcot: Callable, recorded: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(recorded)
    monkeypatch.setattr(Engine, "load", None)
    folder = Path(command[command.index("--out") + 1])
    before = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    ended = marcot(*command)
    assert ended.code == 0, ended.err
    if "--report" not in command:
        done = re.fullmatch(rf"(\d+) of (\d+) answers are already in {folder}\n", ended.err)
        assert done is not None, ended.err
        assert done[1] == done[2]
    assert {path.name: path.read_bytes() for path in folder.glob("*.jsonl")} == before
    assert "mgsm:" in ended.out
