"""Try kernel shapes in parallel child processes: compile each, run it once, and compare it with the default shape.

A shape may fail to compile, take a minute, or cause a device error that breaks its process. So every trial is sent to a
child process, which answers with one line; a child that does not answer is killed and replaced.
"""

from __future__ import annotations

import contextlib
import json
import queue
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TextIO

import torch
from marcot.kernels import Kernels
from torch import Tensor

from ... import ROOT
from .tunables import OWN, Case, Fields

SECONDS = 60.0
"""Time limit of a trial, in seconds."""

_FAR = 2e-2
"""Largest allowed relative norm of the difference, due to another order of summation and rounding to bf16."""

KernelsOf = Callable[[Case, Fields], Kernels]
"""Returns a kernel set whose tuning table has the given fields for a case."""


class Trial(NamedTuple):
    """A candidate shape of a case.

    Attributes:
        case: Index of the case.
        candidate: Index of the shape among the case's candidates.
    """

    case: int
    candidate: int


def failures(
    command: Sequence[str], trials: Sequence[Trial], processes: int, deadline: float, seconds: float = SECONDS
) -> dict[Trial, str]:
    """Run trials in child processes; returns the failed ones with the reason.

    Args:
        command: Starts a child that runs `answer`.
        trials: The trials, in the order in which they are run.
        processes: Number of children that run at the same time.
        deadline: Time (`time.monotonic`) after which no further trial starts.
        seconds: Time limit of a trial.
    """
    waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in trials:
        waiting.put(trial)
    found: dict[Trial, str] = {}

    def serve() -> None:
        child: _Child | None = None
        while True:
            try:
                trial = waiting.get_nowait()
            except queue.Empty:
                break
            if time.monotonic() > deadline:
                found[trial] = "not tried, as no time is left"
                continue
            child = child or _Child(command)
            said = child.ask(trial, seconds)
            if said is None:
                said = f"no answer within {seconds:.0f} s, or its process ended"
                child.end()
                child = None
            if said:
                found[trial] = said
        if child is not None:
            child.end()

    with ThreadPoolExecutor(processes) as pool:
        for served in [pool.submit(serve) for _ in range(processes)]:
            served.result()
    return found


class _Child:
    """A child process that answers trials."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, trial: Trial, seconds: float) -> str | None:
        """Run `trial`; returns why it fails, "" if it succeeds, or None if there is no answer in time."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{json.dumps(trial)}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            return None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        line = process.stdout.readline() if ready else b""
        return str(json.loads(line)) if line else None

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()


def answer(
    cases: Sequence[Case], kernels_of: KernelsOf, device: torch.device, lines: Iterable[str], answers: TextIO
) -> None:
    """The child's side: run each trial in `lines` and answer why it fails, or "".

    Args:
        cases: All cases.
        kernels_of: Makes kernel sets.
        device: Device that they run on.
        lines: Trials as JSON, one per line.
        answers: Receives one line of JSON per trial; all other output goes to stderr.
    """
    number, call, expected = -1, None, []
    for line in lines:
        trial = Trial(*json.loads(line))
        case = cases[trial.case]
        try:
            with contextlib.redirect_stdout(sys.stderr):
                if call is None or number != trial.case:
                    number, call = trial.case, case.make(device)
                    expected = _numbers(call(kernels_of(case, OWN))())
                got = _numbers(call(kernels_of(case, case.candidates[trial.candidate]))())
            wrong = difference(got, expected)
        except Exception:
            wrong = traceback.format_exc()
        print(json.dumps(wrong), file=answers, flush=True)


def difference(got: Sequence[Tensor], expected: Sequence[Tensor]) -> str:
    """How `got` differs too much from `expected`; "" if it does not."""
    for one, other in zip(got, expected, strict=True):
        if not one.isfinite().all():
            return "numbers are not finite"
        off = float((one - other).norm() / other.norm())
        if not off <= _FAR:
            return f"off by {off:.3g} of the norm"
    return ""


def _numbers(result: object) -> list[Tensor]:
    """The floating-point tensors of a result, on the host in fp32. Ids are left out, because ties may be reordered."""
    parts = list(result) if isinstance(result, Iterable) and not isinstance(result, Tensor) else [result]
    return [part.float().cpu() for part in parts if isinstance(part, Tensor) and part.is_floating_point()]


def child_command(ops: Sequence[str], folder: Path) -> list[str]:
    """The command that starts a child for the cases of `ops`; it finds cached inputs in `folder`."""
    return [sys.executable, "-m", "bench.gpu.tune", "--ops", " ".join(ops), "--folder", str(folder)]
