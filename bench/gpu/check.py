"""`make gpu-check`: all checks and benchmarks that need a GPU, in one command and one report.

Sections are independent: if one fails, the report holds its traceback and the others still run. A section that needs a
missing package is skipped with a note. Numbers are printed as they are measured, and the report is written after each
section.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

import torch

from .. import RESULTS
from ..common.shaped_checkpoint import CONFIGS
from .flashinfer_trees import start_build
from .models import Model
from .peer_build import PeerBuild
from .report import WRONG, GpuReport, Section
from .section import Clock, Notebook, Task, run_section

NO_GPU = 3
"""Exit code if there is no GPU."""

_RANDOM = "0.5b 7b"
_SECONDS = 390
"""Seconds after which the running section is stopped, so that the whole run ends within seven minutes."""


class Part(NamedTuple):
    """The definition of a section.

    Attributes:
        module: Name of the module that has `run(task)`; imported just before the section runs.
        required: Whether an error in the section counts as an error of marcot.
        what: Its description in `--help`.
    """

    module: str
    required: bool
    what: str


PARTS: Final[Mapping[str, Part]] = {
    "tests": Part("bench.gpu.sections.kernel_tests", True, "the kernel tests, on the GPU"),
    "head": Part("bench.gpu.sections.head_times", True, "the LM head compared with cuBLAS"),
    "linears": Part("bench.gpu.sections.linear_times", True, "quantised linears compared with bf16 by cuBLAS"),
    "kernels": Part("bench.gpu.sections.kernel_times", True, "the other kernels compared with the card's limits"),
    "attention": Part(
        "bench.gpu.sections.tree_times", True, "attention over trees compared with FlashInfer, and on fp8 pages"
    ),
    "decode": Part("bench.gpu.sections.decode", True, "decode steps compared with the recorded step, with a profile"),
    "prompts": Part("bench.gpu.sections.prompts", True, "throughput of prompts computed together"),
    "search": Part("bench.gpu.sections.search", True, "search throughput compared with decoding as many rows"),
    "logprobs": Part(
        "bench.gpu.sections.logprobs", True, "whole-model log-probabilities against transformers and the CPU"
    ),
    "peers": Part("bench.gpu.peers", False, "vLLM and SGLang, if they are installed"),
}
"""All sections, in order. FlashInfer compiles in the background during the sections before `attention`, whose timings
a busy host does not disturb."""


class Chosen(NamedTuple):
    """The command-line options.

    Attributes:
        models: The models that are run as a whole.
        sections: Names in `PARTS`.
        out: Path of the report; None for the default path.
        seconds: Seconds after which the running section is stopped and no further one starts.
        check: Whether a missed bar is an error.
    """

    models: list[Model]
    sections: list[str]
    out: Path | None
    seconds: float
    check: bool


def run_part(name: str, models: Sequence[Model], clock: Clock, build: PeerBuild | None, seconds_left: float) -> Section:
    """Run a section by name for at most the seconds that are left."""
    part = PARTS[name]

    def run(notebook: Notebook) -> None:
        import_module(part.module).run(Task(models, "cuda", clock, notebook, build))

    return run_section(name, part.required, run, lambda line: print(f"  {line}", flush=True), seconds_left)


def report_path(card: str) -> Path:
    """Default path of the report for a card."""
    return RESULTS / f"gpu_check_{re.sub(r'[^a-z0-9]+', '_', card.lower()).strip('_')}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen sections; returns the exit code."""
    started = time.monotonic()
    chosen = _parsed(arguments)
    if not torch.cuda.is_available():
        print(f"gpu-check: no GPU: torch {torch.__version__} sees none, so nothing was checked", file=sys.stderr)
        return NO_GPU
    from .card import measure_card
    from .cold_clock import ColdClock

    clock = ColdClock.on_device(torch.device("cuda"))
    report = GpuReport(measure_card(clock), [])
    path = chosen.out or report_path(report.card.name)
    with _building("attention" in chosen.sections) as build:
        for name in chosen.sections:
            left = chosen.seconds - (time.monotonic() - started)
            print(f"gpu-check: {name} ...", flush=True)
            report.sections.append(run_part(name, chosen.models, clock, build, left))
            report.write(path)  # after each section, so that a killed run keeps its results
            torch.cuda.empty_cache()
    print(report.text())
    print(f"gpu-check: report in {path}, {time.monotonic() - started:.0f} s", file=sys.stderr)
    if skipped := [section.name for section in report.sections if section.status == "skipped"]:
        print(f"gpu-check: skipped, or stopped before their end: {', '.join(skipped)}", file=sys.stderr)
    missed = chosen.check and not all(bar.met for bar in report.bars)
    return report.exit_code or (WRONG if missed else 0)


@contextmanager
def _building(wanted: bool) -> Iterator[PeerBuild | None]:
    """Compile FlashInfer's kernels in the background during the `with` block; stop the compilation at its end."""
    build = start_build() if wanted else None
    try:
        yield build
    finally:
        if build is not None:
            build.end()


def _parsed(arguments: Sequence[str] | None) -> Chosen:
    listed = "; ".join(f"{name}: {part.what}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__, epilog=f"Sections. {listed}.")
    parser.add_argument("--model", default="", help="a built-in name, a hub id or a path, instead of random weights")
    parser.add_argument(
        "--random", default=_RANDOM, type=_sizes, help=f"sizes of random models, from {', '.join(CONFIGS)}"
    )
    parser.add_argument(
        "--sections", default=" ".join(PARTS), type=_sections, help='sections to run, such as "tests kernels"'
    )
    parser.add_argument("--out", type=Path, help="path of the report; by default in bench/results")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="seconds after which a section is stopped")
    parser.add_argument("--check", action="store_true", help="exit with code 1 if a bar is missed")
    chosen = parser.parse_args(arguments)
    models = [Model(chosen.model, False)] if chosen.model else [Model(size, True) for size in chosen.random]
    return Chosen(models, chosen.sections, chosen.out, chosen.seconds, chosen.check)


def _sizes(names: str) -> list[str]:
    return _among(names.lower(), CONFIGS)


def _sections(names: str) -> list[str]:
    return _among(names, PARTS)


def _among(names: str, known: Mapping[str, object]) -> list[str]:
    chosen = names.split()
    for name in chosen:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
