"""Runs a `llama-batched-bench` program, which times its decoding of many sequences over a shared prompt.

The user provides the command, flags included: `LLAMA_BATCHED_BENCH="/path/to/llama-batched-bench -rtr -fa 1"`. The
program draws no tokens and computes no probabilities, work that is included in the numbers of all other engines.
"""

from __future__ import annotations

import re
import shlex
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from marcot.kernels.programs import find_program

from ..common.peak_memory import peak_memory
from .lineup import BRANCHES

_ROW = re.compile(r"^\|" + r"\s*([0-9.]+)\s*\|" * 10, re.MULTILINE)
"""Matches a row of its table: PP, TG, B, N_KV, T_PP, S_PP, T_TG, S_TG, T, S."""


class BatchedRun(NamedTuple):
    """The results of one run.

    Attributes:
        prefill: Prompt tokens/s, median of the rounds.
        decode: Tokens/s over all sequences, median of the rounds.
        rounds: Number of rounds.
        peak_memory: Peak memory of the process, in bytes.
    """

    prefill: float
    decode: float
    rounds: int
    peak_memory: int


def run_batched_bench(
    command: str, model: Path, threads: int, prompt: int, branches: int, passes: int, rounds: int
) -> BatchedRun:
    """Run `command` on `model` with a shared prompt of `prompt` tokens and `passes` tokens per sequence.

    Raises:
        RuntimeError: The program failed, or its output does not have the expected table.
    """
    context = prompt + max(BRANCHES) * (passes + 1)  # the same for every number of branches, as for the other engines
    arguments = ["-m", str(model), "-t", str(threads), "-c", str(context), "-b", "2048", "-ub", "512", "-pps"]
    arguments += ["-npp", str(prompt), "-ntg", str(passes), "-npl", ",".join([str(branches)] * rounds)]
    program, *flags = shlex.split(command)
    program = find_program(program) or program
    with (
        tempfile.TemporaryDirectory() as folder,  # some versions write a log to the current folder
        subprocess.Popen(
            [str(Path(program).absolute()), *flags, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
        ) as process,
    ):
        assert process.stdout is not None
        output, peak = "", 0
        for line in process.stdout:  # the program prints a row of the table after each round
            output += line
            peak = max(peak, peak_memory(process.pid))
    rows = _ROW.findall(output)
    if process.returncode or len(rows) != rounds:
        raise RuntimeError(f"{command}: status {process.returncode}, {len(rows)} rows of {rounds}\n{output[-2000:]}")
    return BatchedRun(
        prefill=statistics.median(float(row[5]) for row in rows),
        decode=statistics.median(float(row[7]) for row in rows),
        rounds=rounds,
        peak_memory=peak,
    )
