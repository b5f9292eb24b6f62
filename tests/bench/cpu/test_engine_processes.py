"""The processes of `make bench-cpu`: what happens after an engine has crashed, or when the benchmark is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs.processes import is_running, wait_until

from bench import ROOT
from bench.common.remote import RemoteError
from bench.cpu.engine_processes import EngineProcesses, UnavailableError
from bench.cpu.lineup import PYTHON_VARIABLE, Contestant
from bench.cpu.other_programs import OtherPrograms
from bench.cpu.results import Results

ENGINE = """#!/bin/sh
read probe && echo '{"result": null}'
read load && echo '{"result": {"seconds": 1.0, "versions": {}}}'
read prefill && kill -SEGV $$
"""
"""A program that answers the commands of a child process until it has loaded a model, and crashes at the next one."""

BENCHMARK = """
import sys, time
from bench.common.remote import Remote
remote = Remote(sys.executable, {})
remote.call("peak_memory")
print(remote.process, flush=True)
time.sleep(600)
"""


def test_an_engine_that_crashes_is_left_out_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(ENGINE)
    python.chmod(0o700)
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    results = Results()
    engines = EngineProcesses("tiny", tmp_path, 1, results)
    contestant = Contestant("another engine", "another:Engine", ("another",))
    with OtherPrograms(engines.processes):
        remote = engines.member(contestant)
        assert engines.processes() == [remote.process]
        with pytest.raises(RemoteError, match="prefill: the process ended with status -11"):
            remote.call("prefill", tokens=1)
    assert engines.processes() == []
    for _ in range(2):
        with pytest.raises(UnavailableError, match="another engine on tiny: it crashed during an earlier measurement"):
            engines.member(contestant)
    assert results.notes == ["another engine on tiny: it crashed during an earlier measurement"]
    engines.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_engines_end_with_a_benchmark_that_is_killed() -> None:
    command = [sys.executable, "-c", BENCHMARK]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout is not None
        engine = int(benchmark.stdout.readline())
        assert is_running(engine)
        os.kill(engine, signal.SIGSTOP)  # as if it were busy: it does not notice that its standard input ends
        benchmark.kill()
    wait_until(lambda: not is_running(engine))
