"""The process that loads mutants, so that a crash or a hang is an outcome like any other."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import NamedTuple

_MEMORY = 2**30
"""Bytes beyond what the process takes before the first mutant; valid checkpoints take a hundredth of this."""

_CPU_SECONDS = 10.0
_WALL_SECONDS = 30.0
"""Limit for mutants that wait without computing."""


class Outcome(NamedTuple):
    """The outcome of a mutant.

    Attributes:
        kind: `"works"`, `"refused: "` and the class of the error, or the finding's first word.
        told: A description of the mutant and, for a finding, of what happened.
        finding: Whether this must not happen.
    """

    kind: str
    told: str
    finding: bool


class Worker:
    """Makes mutants of the checkpoints in a folder, and tries them one by one."""

    def __init__(self, bases: Path, only: str = "*") -> None:
        """Start it; only files that match `only` are changed."""
        self._arguments = (str(bases), only)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, name: str) -> Outcome:
        """Try the mutant that is made from the random seed `name`."""
        if self._process is None:
            self._process = _start(*self._arguments)
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(f"{name}\n".encode())
        except BrokenPipeError:
            return self._died("before it")
        told = ""
        while True:
            ready, _, _ = select.select([self._process.stdout], [], [], _WALL_SECONDS)
            line = self._process.stdout.readline() if ready else b""
            if not line:
                return self._died(told, waited=not ready)
            answer = json.loads(line)
            if "kind" not in answer:
                told = answer["told"]
                continue
            return Outcome(answer["kind"], f"{told} -> {answer['detail']}", answer["finding"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _died(self, told: str, waited: bool = False) -> Outcome:
        assert self._process is not None
        if waited:
            self._process.kill()
        code = self._process.wait()
        self.close()
        if waited or code == -signal.SIGPROF:
            return Outcome("hang", f"{told} -> hangs", True)
        return Outcome("abort", f"{told} -> ends with {code}", True)


def _start(bases: str, only: str) -> subprocess.Popen[bytes]:
    tests = Path(__file__).resolve().parent.parent
    return subprocess.Popen(
        [sys.executable, "-m", "fuzzing.worker", bases, only],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # unbuffered, because `select` does not see a buffer
        env=os.environ | {"PYTHONPATH": str(tests), "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
    )


def _serve(bases: Path, only: str) -> None:
    from .mutants import mutant
    from .trial import FindingError, attempt

    answers = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as noise:
        for descriptor in (1, 2):
            os.dup2(noise.fileno(), descriptor)
        for base in sorted(bases.iterdir()):
            assert attempt(base) == "works", base
        limit = _used() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for line in sys.stdin:
            made = mutant(bases, Path(folder) / "mutant", Random(line.strip()), only)
            print(json.dumps({"told": made.told}), file=answers, flush=True)
            noise.seek(0)
            noise.truncate()
            signal.setitimer(signal.ITIMER_PROF, _CPU_SECONDS)
            try:
                kind, detail, finding = attempt(made.path), "", False
            except FindingError as error:
                kind, detail, finding = str(error).partition(":")[0], str(error), True
            signal.setitimer(signal.ITIMER_PROF, 0)
            if not finding and noise.seek(0, os.SEEK_END):
                noise.seek(0)
                said = noise.read(400)
                if kind.startswith("refused") and b"panicked at" in said:
                    kind = f"{kind}, loudly"  # a library in Rust prints its panic to stderr before anyone can catch it
                else:
                    kind, detail, finding = "noise", repr(said), True
            print(json.dumps({"kind": kind, "detail": detail, "finding": finding}), file=answers, flush=True)


def _used() -> int:
    """The address space of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
