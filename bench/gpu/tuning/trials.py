"""Shapes of kernels are compiled, run once and compared with the launcher's own, in processes beside each other.

A shape may not compile, take a minute, or break the device for its process. So every trial is asked of a child process
and answered in a line; a child that does not answer is ended, and another one goes on.
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
"""A trial that takes longer is given up."""

_FAR = 2e-2
"""Largest relative norm of a difference: sums in another order, rounded to bf16."""

KernelsOf = Callable[[Case, Fields], Kernels]
"""A kernel set whose tuning table has these fields for a case."""


class Trial(NamedTuple):
    """A shape of a case.

    Attributes:
        case: Number of the case.
        candidate: Number of the shape among its candidates.
    """

    case: int
    candidate: int


def failures(
    command: Sequence[str], trials: Sequence[Trial], processes: int, deadline: float, seconds: float = SECONDS
) -> dict[Trial, str]:
    """What is wrong with those of `trials` that are.

    Args:
        command: Starts a child that runs `answer`.
        trials: What is tried, in this order.
        processes: Children at a time.
        deadline: By `time.monotonic`; after it no other trial begins.
        seconds: What a child may take for a trial.
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
    """A process that answers trials."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, trial: Trial, seconds: float) -> str | None:
        """What is wrong with `trial`, "" if nothing is; None if there is no answer in time."""
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
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()


def answer(
    cases: Sequence[Case], kernels_of: KernelsOf, device: torch.device, lines: Iterable[str], answers: TextIO
) -> None:
    """The child's side: answer each of `lines`, a trial, with what is wrong with it, until there are no more.

    Args:
        cases: All of them.
        kernels_of: Makes kernel sets.
        device: Where they run.
        lines: Trials as JSON.
        answers: Where a line goes for each; whatever else is printed goes to stderr.
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
    """What is wrong with `got`, "" if nothing is."""
    for one, other in zip(got, expected, strict=True):
        if not one.isfinite().all():
            return "numbers are not finite"
        off = float((one - other).norm() / other.norm())
        if not off <= _FAR:
            return f"off by {off:.3g} of the norm"
    return ""


def _numbers(result: object) -> list[Tensor]:
    """The tensors of numbers in a result, on the host in fp32; of ids, those that tie may be others."""
    parts = list(result) if isinstance(result, Iterable) and not isinstance(result, Tensor) else [result]
    return [part.float().cpu() for part in parts if isinstance(part, Tensor) and part.is_floating_point()]


def child_command(ops: Sequence[str], folder: Path) -> list[str]:
    """Starts a child for the cases of `ops`, which finds in `folder` what takes long to make."""
    return [sys.executable, "-m", "bench.gpu.tune", "--ops", " ".join(ops), "--folder", str(folder)]
