"""`make gpu-check`: everything that needs a GPU to be known, in one command and one report.

Each section is on its own: one that fails is in the report with its traceback, and the others still run.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

import torch

from .. import RESULTS
from .report import GpuReport, Section
from .section import Notebook, Task, run_section

NO_GPU = 3
"""Exit code where there is nothing to check."""


class Part(NamedTuple):
    """A section before it runs.

    Attributes:
        module: Which has `run(task)`; imported when it is the section's turn.
        required: Whether an error in it is an error of marcot.
        what: Its line in `--help`.
    """

    module: str
    required: bool
    what: str


PARTS: Final[Mapping[str, Part]] = {
    "tests": Part("bench.gpu.kernel_tests", True, "the kernel tests, on the GPU"),
    "logprobs": Part("bench.gpu.logprobs", True, "whole-model log-probabilities against transformers and the CPU"),
    "kernels": Part("bench.gpu.kernel_times", True, "every kernel's time beside the card's limits"),
    "decode": Part("bench.gpu.decode", True, "decoding with and without CUDA graphs"),
    "peers": Part("bench.gpu.peers", False, "FlashInfer, vLLM and SGLang, where they are installed"),
}


def run_part(name: str, model: str) -> Section:
    """Run a section by name."""
    part = PARTS[name]

    def run(notebook: Notebook) -> None:
        import_module(part.module).run(Task(model, "cuda", notebook))

    return run_section(name, part.required, run)


def report_path(card: str) -> Path:
    """Where the report of a card goes."""
    return RESULTS / f"gpu_check_{re.sub(r'[^a-z0-9]+', '_', card.lower()).strip('_')}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections that were asked for; returns the exit code."""
    chosen = _parsed(arguments)
    if not torch.cuda.is_available():
        print(f"gpu-check: no GPU: torch {torch.__version__} sees none, so nothing was checked", file=sys.stderr)
        return NO_GPU
    from .card import measure_card

    report = GpuReport(measure_card(), [])
    path = chosen.out or report_path(report.card.name)
    for name in chosen.sections:
        print(f"gpu-check: {name} ...", file=sys.stderr, flush=True)
        report.sections.append(run_part(name, chosen.model))
        report.write(path)  # after each, as a process that is killed writes nothing any more
        torch.cuda.empty_cache()
    print(report.text())
    print(f"gpu-check: report in {path}", file=sys.stderr)
    return report.exit_code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    listed = "; ".join(f"{name}: {part.what}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__, epilog=f"Sections. {listed}.")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="a built-in name, a hub id or a path")
    parser.add_argument("--sections", default=" ".join(PARTS), type=_sections, help='such as "tests kernels"')
    parser.add_argument("--out", type=Path, help="where the report goes; bench/results by default")
    return parser.parse_args(arguments)


def _sections(names: str) -> list[str]:
    chosen = names.split()
    for name in chosen:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PARTS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
