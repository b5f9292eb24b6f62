"""Prints the table of `make kernel-report`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table

from .binary import Loads
from .occupancy import LIMITS, SCHEDULERS
from .table import Key, Row, Rows
from .target import TARGETS

_UNKNOWN = "unknown"
"""Shown in the columns of instructions if the disassembler does not support the target."""

_NUMBERS = ("registers", "spills", "stack", "shared", "threads", "blocks", "warps", "loads", "copies")

LEGEND = (
    "Registers and stack (in bytes) are per thread, shared memory (in bytes) per block. Spills: bytes stored and "
    "loaded per thread; scalar registers that are parked in lanes of vector registers do not count. "
    "Blocks and warps: how many are resident on a processor, in brackets the occupancy. Tensor, loads, copies: "
    "instructions in the code, loops counted once; for loads from global memory and asynchronous copies to shared "
    "memory, how many of them are at least 128 bits wide."
)


def target_tables(rows: Rows) -> Iterator[Table]:
    """Yield a table for each GPU architecture."""
    for name, group in groupby(rows.items(), lambda item: item[0].target):
        target = TARGETS[name]
        table = Table(
            title=f"{name} ({target.card}, {target.arch.processors} processors)", title_justify="left", box=SIMPLE_HEAD
        )
        for column in ("variant", "tensor", *_NUMBERS):
            table.add_column(column, justify="right" if column in _NUMBERS else "left", no_wrap=True)
        for key, row in group:
            table.add_row(*_cells(key, row))
        yield table


def _cells(key: Key, row: Row) -> list[str]:
    warps = row.blocks * row.threads // TARGETS[key.target].arch.warp
    most = LIMITS[key.target].warps * SCHEDULERS
    return [
        key.variant,
        _tensor(row),
        str(row.registers),
        _spills(row),
        str(row.stack),
        str(row.shared),
        str(row.threads),
        str(row.blocks),
        f"{warps} ({warps / most:.0%})",
        _loads(row.loads),
        _loads(row.copies),
    ]


def _tensor(row: Row) -> str:
    if row.tensor is None:
        return _UNKNOWN
    return ", ".join(f"{count} {name}" for name, count in row.tensor.items())


def _spills(row: Row) -> str:
    parked = f" ({row.parked} parked)" if row.parked else ""
    return f"{_UNKNOWN if row.stored is None else f'{row.stored}, {row.loaded}' if row.spills else 0}{parked}"


def _loads(loads: Loads | None) -> str:
    if loads is None:
        return _UNKNOWN
    return f"{loads.wide} of {loads.all}" if loads.all else ""
