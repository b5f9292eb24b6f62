"""The command line as users run it: in its own process, with a real model, into a pipe, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.programs.interruptible import start

pytestmark = [pytest.mark.real, pytest.mark.slow]

MODEL = "smollm2-135m"
SEARCH = [sys.executable, "-m", "marcot.engine.cli", "search", "--model", MODEL, "--action", "mini-step-4"]


@pytest.fixture(autouse=True)
def _fetched(real_model: Callable[[str], Path]) -> None:
    real_model(MODEL)


def test_json_through_a_pipe() -> None:
    command = [*SEARCH, "--rollouts", "5", "--max-rollout-tokens", "12", "--json", "What is 6 plus 2?"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    [entry] = map(json.loads, ended.stdout.splitlines())
    nodes = entry["tree"]["nodes"]
    assert [node["id"] for node in nodes] == list(range(len(nodes)))
    assert nodes[0]["visits"] == len(entry["rollouts"]) == 5
    for node in nodes:
        children = [child for child in nodes if child["parent"] == node["id"]]
        assert not children or node["visits"] == sum(child["visits"] for child in children)
    assert "".join(nodes[id]["text"] for id in entry["best_path"]) == entry["text"]
    stats = entry["stats"]
    assert sum(node["tokens"] for node in nodes) <= stats["generated_tokens"]
    assert stats["generated_tokens"] < sum(rollout["tokens"] for rollout in entry["rollouts"])
    assert "\x1b" not in ended.stderr


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    questions, out = tmp_path / "questions.txt", tmp_path / "out.jsonl"
    questions.write_text("What is 1 plus 1?\nWhat is 2 plus 2?\nWhat is 3 plus 3?\n", encoding="utf-8")
    command = [*SEARCH, "--rollouts", "1", "--max-rollout-tokens", "6", "--concurrency", "1"]
    command += ["--input", str(questions), "--out", str(out)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not (out.exists() and out.read_bytes().count(b"\n")):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait(timeout=60)
    kept = out.read_bytes().splitlines()
    assert 1 <= len(kept) < 3
    with out.open("ab") as file:
        file.write(kept[0][:50])
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert f"{len(kept)} of 3 questions are already in" in ended.stderr
    lines = out.read_bytes().splitlines()
    assert lines[: len(kept)] == kept
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [*SEARCH, "--rollouts", "50", "--out", str(out), "Count to a thousand."]
    running = start(command, stdout=subprocess.PIPE)
    assert running.stderr is not None
    assert any("tokens/s" in line for line in iter(running.stderr.readline, ""))
    running.send_signal(signal.SIGINT)
    shown, told = running.communicate(timeout=120)
    assert running.returncode == 130
    assert shown == ""
    assert (
        told.splitlines()[-1]
        == f"interrupted: finished 0 of 1 questions; run the same command again to resume from {out}"
    )
