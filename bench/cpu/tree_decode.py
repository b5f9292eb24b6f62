"""Times the branches of a tree against the same engine without sharing, and against transformers: `make bench`.

All contestants decode branches that continue a prefix of `PREFIX_TOKENS` tokens, in fp32, one directly after the other.
They are timed as by `marcot bench`: `marcot.engine.speed` says what counts. transformers has a copy of the prefix's
cache for each branch, takes the most probable token and computes no probabilities. The last column is the speed
relative to the limit of the machine: reading the weights and every cached token once per step at the measured
bandwidth, or doing all products at the measured GEMM speed, whichever takes longer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import marcot.engine  # noqa: F401  (before torch: it makes OpenMP threads wait, not spin)
import torch
import typer
from marcot.engine import Engine, InputError
from marcot.engine.cli.signals import INTERRUPTED
from marcot.engine.speed import TransformersPeer, TreeShape, time_decode
from marcot.kernels import MarcotError
from marcot.model import locate
from rich.console import Console
from rich.table import Table

from ..common.machine import Machine, measure_machine
from ..common.prompt import PREFIX_TOKENS
from ..peers.marcot_engine import byte_counts
from .step import Step

_MODELS = "smollm2-135m qwen2.5-coder-0.5b"
_BRANCHES = (1, 4, 8, 16)
_TOKENS = 8
"""Tokens that a branch gets in a round."""

_ROUNDS = 5

COLUMNS = ("branches", "tree", "copies", "transformers", "vs copies", "vs transformers", "of the limit")


def speed_table(model: str, branches: Sequence[int], machine: Machine) -> Table:
    """Time `model` and return a row of tokens/s for each number of branches; ratios above 1 favour the tree.

    Columns of transformers hold a dash if it cannot load the model; the caption then says why.

    Raises:
        MarcotError: The model cannot be loaded, or its context is too short.
    """
    path = locate(model)
    room = 2 * max(branches) * (PREFIX_TOKENS + _TOKENS)
    engine = Engine.load(str(path), device="cpu", dtype="float32", compute="exact", kv_tokens=room)
    title = f"{model}: tokens/s below a prefix of {PREFIX_TOKENS} tokens, fp32"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    theirs = None
    try:
        theirs = TransformersPeer(path, engine, torch.device("cpu"))
    except InputError as error:
        table.caption = f"note: {error}"
    for count in branches:
        one, many = TreeShape((-1,), (PREFIX_TOKENS,), count), TreeShape((-1,) * count, (PREFIX_TOKENS,) * count)
        tree = time_decode(engine, one, _TOKENS, _ROUNDS, "").rate
        others = [time_decode(engine, many, _TOKENS, _ROUNDS, "").rate]
        if theirs is not None:
            others.append(theirs.time_decode(PREFIX_TOKENS, count, _TOKENS, _ROUNDS).rate)
        absent = ["-"] * (2 - len(others))
        speeds = [f"{speed:.1f}" for speed in (tree, *others)] + absent
        ratios = [f"{tree / speed:.2f}x" for speed in others] + absent
        table.add_row(str(count), *speeds, *ratios, f"{tree / count * _least_seconds(engine, count, machine):.0%}")
    return table


def _least_seconds(engine: Engine, branches: int, machine: Machine) -> float:
    """The shortest possible time of a step on this machine, for any engine."""
    step, sizes = Step(engine.config, branches, PREFIX_TOKENS, own=_TOKENS / 2), byte_counts(engine)
    read = step.read_bytes(sizes["step_weight_bytes"], sizes["kv_token_bytes"])
    return max(read / machine.read_bandwidth, step.operations() / machine.gemm_flops)


def bench(
    models: Annotated[str, typer.Option(help="Built-in names or paths of checkpoints, separated by spaces.")] = _MODELS,
    branches: Annotated[list[int] | None, typer.Option(min=1, help="A number of branches; may be repeated.")] = None,
) -> None:
    """Time decoding over a shared prefix, and print a table for each model."""
    console = Console(width=110, highlight=False)
    try:
        machine = measure_machine()
        console.print(
            f"{machine.cpu}, {machine.threads} threads, reads {machine.read_bandwidth / 1e9:.1f} GB/s, fp32 GEMM "
            f"{machine.gemm_flops / 1e9:.0f} GFLOP/s, load before {machine.load}"
        )
        for model in models.split():
            print(f"timing {model}", file=sys.stderr, flush=True)
            console.print(speed_table(model, branches or _BRANCHES, machine))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except MarcotError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None


if __name__ == "__main__":
    typer.run(bench)
