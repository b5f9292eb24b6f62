"""Signals at chosen moments: a user's value, called by a search in its own process, sends them to that process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from marcot.engine import Engine
from marcot.engine.cli import signals
from marcot.engine.errors import OutputError
from marcot.kernels import MarcotError
from marcot.model import CheckpointError
from support.programs.interruptible import reachable

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}

_MODULE = """
import os

ENDED = []


class Lost:
    def __del__(self):
        os.kill(os.getpid(), {first})


def value(trace):
    if os.path.getsize("out.jsonl") > 0:
        {act}
    return 0.5
"""


def ended_by(
    talker: Path, folder: Path, first: int, act: str, rest: str = "", more: Sequence[str] = (), questions: int = 2
) -> subprocess.CompletedProcess[str]:
    """Search some questions, and run `act` when the first has a result."""
    (folder / "stopping.py").write_text(_MODULE.format(first=int(first), act=act))
    (folder / "q.txt").write_text("One?\nTwo?\n" + "Three?\n" * (questions - 2))
    options = ("--rollouts", "2", "--max-rollout-tokens", "4", "--threads", "1", "--concurrency", "1", "--value")
    words = [sys.executable, "-m", "marcot", "search", "-m", str(talker), *options, "stopping:value"]
    words += ["--input", "q.txt", "--out", "out.jsonl", *more]
    with reachable():
        return subprocess.run(
            ["bash", "-c", f'{rest} exec "$@"', "bash", *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            process_group=0,
        )


@pytest.mark.parametrize("first", SIGNALS, ids=[each.name for each in SIGNALS])
def test_the_first_signal_ends_the_work_and_the_next_ones_change_nothing(
    talker: Path, tmp_path: Path, first: signal.Signals
) -> None:
    later = "; ".join(f"os.kill(os.getpid(), {int(each)})" for each in SIGNALS)
    ended = ended_by(talker, tmp_path, first, f"try: os.kill(os.getpid(), {int(first)})\n        finally: {later}")
    told = "interrupted: finished 1 of 2 questions; run the same command again to resume from out.jsonl\n"
    assert (ended.returncode, ended.stderr) == (SIGNALS[first], told)
    [line] = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["question"] == "One?"


def test_an_interruption_that_a_destructor_swallows_comes_again(talker: Path, tmp_path: Path) -> None:
    ended = ended_by(talker, tmp_path, signal.SIGTERM, "ENDED or ENDED.append(1) or Lost()\n        while True: pass")
    told = "interrupted: finished 1 of 2 questions; run the same command again to resume from out.jsonl\n"
    assert (ended.returncode, ended.stderr) == (143, told)


def test_an_interruption_of_replicas_keeps_what_is_finished(talker: Path, tmp_path: Path) -> None:
    act = f"os.killpg(0, {int(signal.SIGINT)})"
    ended = ended_by(talker, tmp_path, signal.SIGINT, act, more=("--replicas", "2"), questions=6)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    told = [
        f"interrupted: finished {number} of 6 questions; run the same command again to resume from out.jsonl\n"
        for number in (len(lines), len(lines) - 1)  # the last line may have been written, and not counted yet
    ]
    assert (ended.returncode, ended.stderr in told) == (130, True), ended.stderr
    assert len({json.loads(line)["index"] for line in lines}) == len(lines) > 0


def test_a_signal_that_is_ignored_stays_so(talker: Path, tmp_path: Path) -> None:
    ended = ended_by(talker, tmp_path, signal.SIGHUP, f"os.kill(os.getpid(), {int(signal.SIGHUP)})", "trap '' HUP;")
    assert (ended.returncode, ended.stderr) == (0, "2 questions finished\n")


@pytest.mark.parametrize(
    ("error", "code"), [(CheckpointError("cannot be read"), 130), (OutputError("is full"), 74)], ids=["read", "write"]
)
def test_an_error_that_an_interruption_became_is_not_shown(
    marcot: Callable, talker: Path, monkeypatch: pytest.MonkeyPatch, error: MarcotError, code: int
) -> None:
    """Except if the output could not be written: that would lose work."""

    def load(*arguments: object, **options: object) -> NoReturn:
        monkeypatch.setattr(signals, "_first", signals._First(signal.SIGINT, 0.0))
        raise error

    monkeypatch.setattr(Engine, "load", load)
    ended = marcot("generate", "--model", talker, "One?")
    assert (ended.code, ended.err) == (code, f"error: {error}\n" if code == 74 else "")
