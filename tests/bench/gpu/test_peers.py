"""The section of `make gpu-check` that times other engines, with stand-ins for them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.kernels.gpu_samples import OnceClock
from support.programs.processes import is_running, wait_until

from bench.common.remote import Remote
from bench.gpu import peers
from bench.gpu.findings import DecodeTiming
from bench.gpu.models import Model
from bench.gpu.section import Notebook, Task, run_section
from bench.gpu.sections import decode
from bench.gpu.trees import recorded


def test_without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    told: list[str] = []
    task = Task([Model("0.5b", True)], "cuda", OnceClock(), Notebook())
    ended = run_section("peers", False, lambda notebook: peers.run(task._replace(notebook=notebook)), told.append, 600)
    assert ended.skipped == "no peer is installed"
    assert ended.notes == ["vllm is not installed", "sglang is not installed"]
    assert told == [*ended.notes, ended.skipped]


@pytest.mark.parametrize("installed", [True, False])
def test_engines_of_another_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool) -> None:
    """The interpreter in BENCH_PYTHON, here a script, says which engines it has."""
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport sys\nsys.exit(sys.argv[-1] != 'vllm' or {not installed})\n")
    python.chmod(0o700)
    monkeypatch.setenv("BENCH_PYTHON", str(python))
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert [name for name in ("vllm", "sglang") if peers._is_installed(name)] == ["vllm"] * installed
    assert peers._engine_python() == str(python)


class FakeRemote:
    """A process in which a round takes half a second plus 10 ms per token, and the first round a minute."""

    def __init__(self, python: str, environment: object) -> None:
        self.calls: list[str] = []
        self.now = 0.0

    def __enter__(self) -> FakeRemote:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append("closed")

    def call(self, command: str, **arguments: Any) -> Any:
        self.calls.append(command)
        if command == "load":
            return {"seconds": 60.0, "versions": {"vllm": "1.2", "torch": "3.4"}}
        if command == "start":
            self._passes = arguments["passes"]
        if command == "decode":
            self.now += 0.5 + 0.01 * self._passes + (60 if self.calls.count("decode") == 1 else 0)
        return None


@pytest.mark.parametrize("model", ["folder", "file.gguf"])
def test_engines_run_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str) -> None:
    path = tmp_path / model
    path.touch()
    remote = FakeRemote("python", {})
    monkeypatch.setattr(peers, "Remote", lambda *_: remote)
    monkeypatch.setattr(peers, "time", SimpleNamespace(perf_counter=lambda: remote.now))
    notebook = Notebook()
    peers._engine("vllm", Task([], "cuda", OnceClock(), notebook), "a model", path)
    if model.endswith(".gguf"):
        assert notebook.notes == ["vllm needs a checkpoint folder: give one with MODEL=path"]
        return
    trees = len(recorded())
    assert remote.calls.count("fork") == len(decode.BRANCHES)
    assert remote.calls.count("fork_leaves") == trees
    assert (remote.calls[0], remote.calls[-1]) == ("load", "closed")
    [note] = notebook.notes
    assert note.startswith("vllm 1.2, torch 3.4 in ")
    timings = [one for one in notebook.findings if isinstance(one, DecodeTiming)]
    assert len(timings) == len(notebook.findings) == len(decode.BRANCHES) + trees
    assert [one.step_s for one in timings] == [pytest.approx(0.01)] * len(timings)


def test_ending_an_engine_ends_the_processes_that_it_has_started(tmp_path: Path) -> None:
    """A process whose first answer is the id of a process that it has started, and which then never answers again."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nsleep 600 > /dev/null 2>&1 &\necho '{\"result\": '$!'}'\nwait\n")
    python.chmod(0o700)
    with Remote(str(python), {}) as remote:
        started = remote.call("anything")
        assert is_running(started)
    wait_until(lambda: not is_running(started))
