"""`make gpu-tune`: finds the fastest kernel shapes on this card, and writes them to the table that launchers read.

Shapes are first compiled in parallel processes, and their results compared with those of the launcher's default shape.
Shapes with correct results are then timed one after the other, as replayed graphs with a cold cache. The table goes to
`kernels/triton/tuned`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, cast

import torch
from marcot.kernels import Kernels
from marcot.kernels.triton.arch import Arch, detect_arch
from marcot.kernels.triton.op_set import TritonKernels
from marcot.kernels.triton.tuning import TUNED_FOLDER, UNTUNED, TunedShape, TuningTable, table_name
from marcot.model.files.atomic_file import write_atomically

from .check import NO_GPU
from .cold_clock import ColdClock
from .tuning.trials import Trial, answer, child_command, failures
from .tuning.tunable_attention import attention_cases
from .tuning.tunable_head import head_cases
from .tuning.tunable_linear import linear_cases
from .tuning.tunables import OWN, Case, Fields

OPS: Final[Mapping[str, Callable[[Arch, Path], Iterator[Case]]]] = {
    "attention": attention_cases,
    "linear": linear_cases,
    "head": head_cases,
}
"""For each op, a function that makes its cases from an architecture and a folder that caches slow-to-make inputs."""

_SECONDS = 400
"""Seconds after which nothing more is measured, so that the whole run ends within seven minutes."""

_COMPILE_SHARE = 0.6
"""Share of the seconds for compiling; shapes that are not compiled by then are not tried."""

_GAIN = 0.02
"""Minimum gain over the default shape that is worth an entry in the table; the clock repeats within 0.01."""

_PROCESSES = max(1, min(16, os.cpu_count() or 1))


class Measured(NamedTuple):
    """The fastest shape of a case.

    Attributes:
        case: The case.
        fields: Fields of the fastest shape; empty for the launcher's default shape.
        seconds: Time of the fastest shape.
        own_seconds: Time of the launcher's default shape.
    """

    case: Case
    fields: Fields
    seconds: float
    own_seconds: float

    @property
    def line(self) -> str:
        """The line printed while the command runs."""
        own, best = (f"{seconds * 1e6:.1f} µs" for seconds in (self.own_seconds, self.seconds))
        fields = ", ".join(f"{name} {value}" for name, value in self.fields.items())
        return f"{self.case.name}: {own}" + (f", {best} with {fields}" if fields else ", the launcher's own")


class Chosen(NamedTuple):
    """The command-line options.

    Attributes:
        ops: Keys of `OPS`.
        seconds: Seconds after which nothing more is measured.
        folder: In a child process, the parent's folder of cached inputs; None in the parent.
    """

    ops: list[str]
    seconds: float
    folder: Path | None


def fastest(case: Case, fields: Sequence[Fields], seconds_of: Callable[[Fields], float]) -> Measured:
    """Time the shapes `fields` and the launcher's default shape, and return the fastest."""
    own = seconds_of(OWN)
    times = [(seconds_of(one), one) for one in fields]
    seconds, best = min(times, key=lambda timed: timed[0], default=(own, OWN))
    return Measured(case, best, seconds, own) if seconds < own * (1 - _GAIN) else Measured(case, OWN, own, own)


def shapes_of(measured: Sequence[Measured]) -> list[TunedShape]:
    """Entries for a table: for all sizes of a kind, if any size has a faster shape.

    A size without an entry would use the entry of the next size.
    """
    gained = {(one.case.op, one.case.kind) for one in measured if one.fields}
    return [TunedShape(*one.case[:4], one.fields) for one in measured if (one.case.op, one.case.kind) in gained]


def write_table(card: str, arch: str, measured: Sequence[Measured], folder: Path = TUNED_FOLDER) -> Path:
    """Write the table of `card`, keeping its existing entries of other kinds. Returns its path."""
    path = folder / f"{table_name(card)}.json"
    again = {(one.case.op, one.case.kind) for one in measured}
    had = json.loads(path.read_text())["shapes"] if path.is_file() else []
    kept = [TunedShape(**one) for one in had if (one["op"], one["kind"]) not in again]
    shapes = sorted([*kept, *shapes_of(measured)], key=lambda one: one[:4])
    versions = {"torch": torch.__version__, "triton": version("triton")}
    content = {"card": card, "arch": arch, "versions": versions, "shapes": [one._asdict() for one in shapes]}
    folder.mkdir(exist_ok=True)
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def kernels_with(arch: Arch, case: Case, fields: Fields) -> Kernels:
    """The GPU kernels with a tuning table whose only entry is `fields` for `case`."""
    table = TuningTable("a trial", [TunedShape(*case[:4], fields)]) if fields else UNTUNED
    return cast(Kernels, TritonKernels(arch._replace(tuning=table)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune the chosen ops; returns the exit code."""
    chosen = _parsed(arguments)
    if not torch.cuda.is_available():
        print(f"gpu-tune: no GPU: torch {torch.__version__} sees none, so nothing was tuned", file=sys.stderr)
        return NO_GPU
    device = torch.device("cuda")
    arch = detect_arch(device)
    if chosen.folder is not None:
        torch.set_num_threads(1)  # one process runs on each core
        answer(_cases(chosen.ops, arch, chosen.folder), partial(kernels_with, arch), device, sys.stdin, sys.stdout)
        return 0
    with TemporaryDirectory() as folder:
        _tune(chosen, device, arch, Path(folder))
    return 0


def _cases(ops: Sequence[str], arch: Arch, folder: Path) -> list[Case]:
    return [case for op in ops for case in OPS[op](arch, folder)]


def _tune(chosen: Chosen, device: torch.device, arch: Arch, folder: Path) -> None:
    started = time.monotonic()
    cases, command = _cases(chosen.ops, arch, folder), child_command(chosen.ops, folder)
    right = _compiled(cases, command, started + chosen.seconds * _COMPILE_SHARE)
    print(f"gpu-tune: compiled after {time.monotonic() - started:.0f} s", flush=True)
    name, clock = torch.cuda.get_device_name(device), ColdClock.on_device(device)

    def times_of(case: Case) -> Callable[[Fields], float]:
        call = case.make(device)
        return lambda fields: clock.seconds(call(kernels_with(arch, case, fields)))

    measured: list[Measured] = []
    for case, fields in zip(cases, right, strict=True):
        if time.monotonic() - started > chosen.seconds:
            print(f"gpu-tune: no time is left for {len(cases) - len(measured)} sizes", flush=True)
            break
        measured.append(fastest(case, fields, times_of(case)))
        print(f"  {measured[-1].line}", flush=True)
        write_table(name, arch.name, measured)
    print(f"gpu-tune: {TUNED_FOLDER / table_name(name)}.json after {time.monotonic() - started:.0f} s")


def _compiled(cases: Sequence[Case], command: Sequence[str], deadline: float) -> list[list[Fields]]:
    """For each case, the candidates that compile and give correct results; prints why others fail."""
    trials = [Trial(number, at) for number, case in enumerate(cases) for at in range(len(case.candidates))]
    print(f"gpu-tune: {len(trials)} shapes of {len(cases)} sizes, {_PROCESSES} processes ...", flush=True)
    wrong = failures(command, trials, _PROCESSES, deadline)
    for trial, why in wrong.items():
        case = cases[trial.case]
        print(f"  {case.name}: {dict(case.candidates[trial.candidate])}: {why.strip().splitlines()[-1][:120]}")
    return [
        [fields for at, fields in enumerate(case.candidates) if Trial(number, at) not in wrong]
        for number, case in enumerate(cases)
    ]


def _parsed(arguments: Sequence[str] | None) -> Chosen:
    parser = argparse.ArgumentParser(prog="gpu-tune", description=__doc__)
    parser.add_argument("--ops", default=" ".join(OPS), type=_ops, help=f"ops to tune, from {', '.join(OPS)}")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="seconds after which nothing more is measured")
    parser.add_argument("--folder", type=Path, help="internal: folder of the gpu-tune that this process works for")
    return Chosen(**vars(parser.parse_args(arguments)))


def _ops(names: str) -> list[str]:
    chosen = names.split()
    for name in chosen:
        if name not in OPS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(OPS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
