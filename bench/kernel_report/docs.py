"""Writes the tables of `make kernel-report` into the documentation: a summary of each op for each GPU architecture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from marcot.model.files.atomic_file import write_atomically

from .table import Key, Row, Rows
from .target import TARGETS

_BEGIN, _END = "<!-- kernel-report -->\n", "<!-- /kernel-report -->\n"
_DETAILED = ("tree_attention bf16", "lm_head_topk bf16 dense", "linear bf16 4-bit g32 minimums")
"""Prefixes of the names of variants that get a separate row."""
_DETAILED_ON = ("sm_80", "sm_90", "sm_100", "gfx942")


def update_page(path: Path, rows: Rows) -> None:
    """Replace the text between the markers in the page at `path`."""
    before, _, rest = path.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    write_atomically(
        path, (before + _BEGIN + "\n".join((*_summary(rows), "", *_details(rows), "")) + _END + after).encode()
    )


def _summary(rows: Rows) -> Iterator[str]:
    """Yield a row per op, a column per GPU: the most registers, the fewest blocks, the tensor-core instructions."""
    ops = list(dict.fromkeys(_op(key) for key in rows))
    yield from _head(["op, binaries", *(f"{name} ({target.card})" for name, target in TARGETS.items())])
    for op in ops:
        columns = [[row for key, row in rows.items() if (key.target, _op(key)) == (name, op)] for name in TARGETS]
        counts = " or ".join(str(count) for count in sorted({len(column) for column in columns}))
        yield _line([f"`{op}`, {counts}", *map(_extremes, columns)])


def _op(key: Key) -> str:
    return key.variant.split()[0]


def _extremes(rows: list[Row]) -> str:
    if not rows:
        return ""
    kinds = sorted({name for row in rows for name in row.tensor or {}})
    numbers = f"≤ {max(row.registers for row in rows)} registers, ≥ {min(row.blocks for row in rows)} blocks"
    return f"{numbers}, {', '.join(kinds)}" if kinds else numbers


def _details(rows: Rows) -> Iterator[str]:
    """Yield a row per variant, a column per GPU: registers, shared memory, blocks, tensor-core instructions."""
    names = [key.variant for key in rows if _is_detailed(key)]
    yield from _head(["variant", *_DETAILED_ON])
    for name in names:
        found = (rows.get(Key(target, name)) for target in _DETAILED_ON)
        yield _line([name, *("" if row is None else _numbers(row) for row in found)])


def _is_detailed(key: Key) -> bool:
    of_cache = " fp8" in key.variant  # the fp8 format of the cache depends on the architecture
    return key.target == _DETAILED_ON[0] and key.variant.startswith(_DETAILED) and not of_cache


def _numbers(row: Row) -> str:
    tensor = "".join(f", {count} {name}" for name, count in (row.tensor or {}).items())
    return f"{row.registers} registers, {row.shared / 1024:.0f} KB, {row.blocks} blocks{tensor}"


def _head(titles: list[str]) -> Iterator[str]:
    yield _line(titles)
    yield _line(["---"] * len(titles))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
