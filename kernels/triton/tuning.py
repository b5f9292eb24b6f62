"""Launch shapes that were measured to be the fastest on a card: the tables that `make gpu-tune` writes.

A launcher has a default shape for everything that it launches, and asks the table of its card, `Arch.tuning`, for one
that was measured to be faster. A table is a file in `tuned/`, named after the card:

    {"card": "NVIDIA H200", "arch": "sm_90", "versions": {"triton": "3.6.0"},
     "shapes": [{"op": "linear", "kind": "bf16 4-bit g32", "rows": 16, "columns": 4096, "fields": {"warps": 2}}]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

TUNED_FOLDER: Final = Path(__file__).parent / "tuned"

ShapeT = TypeVar("ShapeT", bound=NamedTuple)


class TableError(ValueError):
    """A tuning table is invalid; the message names the file."""


class TunedShape(NamedTuple):
    """The shape that was measured to be the fastest for a size.

    Attributes:
        op: Name of the kernel.
        kind: What the kernel is compiled for besides its shape, such as `"bf16 4-bit g32"`.
        rows: The entry is for up to this many rows, of a call or of a tile, down to the next smaller entry.
        columns: Columns of the weight, width of a head, or whatever else the launcher distinguishes sizes by.
        fields: Fields of the launcher's shape by name; missing fields keep their defaults.
    """

    op: str
    kind: str
    rows: int
    columns: int
    fields: Mapping[str, int]


class TuningTable:
    """The measured shapes of one card. Two tables are equal if they are the same object.

    Attributes:
        card: Name of the card, empty for the table that has no entries.
    """

    def __init__(self, card: str, shapes: Iterable[TunedShape]) -> None:
        """Keep `shapes`, at most one for each op, kind and size."""
        self.card = card
        self._shapes: dict[tuple[str, str], list[TunedShape]] = {}
        for one in shapes:
            self._shapes.setdefault((one.op, one.kind), []).append(one)
        for same in self._shapes.values():
            same.sort(key=lambda one: (one.rows, one.columns))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the table as a copy, which is not equal to this one."""
        return TuningTable, (self.card, [one for same in self._shapes.values() for one in same])

    def shapes(self, op: str, kind: str) -> tuple[TunedShape, ...]:
        """All entries for `kind`, by ascending rows; lists of variants include their binaries."""
        return tuple(self._shapes.get((op, kind), ()))

    def shape(self, op: str, kind: str, rows: int, columns: int, default: ShapeT) -> ShapeT:
        """Return `default`, a NamedTuple of integers, with the fields that were measured to be faster.

        They come from the entries with the fewest rows that are at least `rows`, or with the most rows if none has
        enough; among those, from the entry whose columns are nearest by ratio.

        Args:
            op: Name of the kernel.
            kind: What the kernel is compiled for besides its shape.
            rows: Rows of the call.
            columns: Columns of the weight, or width of a head.
            default: The launcher's own choice.

        Raises:
            TableError: The table has a field that `default` does not have.
        """
        measured = self._shapes.get((op, kind))
        if not measured:
            return default
        bucket = next((one.rows for one in measured if one.rows >= rows), measured[-1].rows)
        same = (one for one in measured if one.rows == bucket)
        nearest = min(same, key=lambda one: max(one.columns, columns) / min(one.columns, columns))
        return _replaced(default, nearest, self.card)


UNTUNED: Final = TuningTable("", ())
"""The empty table, with which every launcher uses its defaults."""


def load_tuning(card: str, arch: str, folder: Path = TUNED_FOLDER) -> TuningTable:
    """The table of `card`, else the first of the same architecture, else `UNTUNED`.

    Args:
        card: The driver's name of the card; empty for any card of the architecture.
        arch: Name of the architecture, such as `"sm_90"` or `"gfx942"`.
        folder: Where the tables are.

    Raises:
        TableError: A table cannot be read.
    """
    tables = _tables(folder)
    own = tables.get(table_name(card))
    if own is not None:
        return own.table
    return next((one.table for one in tables.values() if one.arch == arch), UNTUNED)


def table_name(card: str) -> str:
    """File name of a card's table without its suffix: `"nvidia_h200"`."""
    return re.sub(r"[^a-z0-9]+", "_", card.lower()).strip("_")


class _Stored(NamedTuple):
    arch: str
    table: TuningTable


@cache
def _tables(folder: Path) -> dict[str, _Stored]:
    return {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}


def _read(path: Path) -> _Stored:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shapes = [TunedShape(**one) for one in content["shapes"]]
        card, arch = content["card"], content["arch"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TableError(f"{path}: not a tuning table: {error!r}") from error
    seen: set[tuple[str, str, int, int]] = set()
    for one in shapes:
        _check(one, path)
        if one[:4] in seen:
            raise TableError(f"{path}: {one.op}, {one.kind}, {one.rows} rows, {one.columns} columns: occurs twice")
        seen.add(one[:4])
    return _Stored(arch, TuningTable(card, shapes))


def _check(one: TunedShape, path: Path) -> None:
    right = isinstance(one.op, str) and isinstance(one.kind, str) and isinstance(one.fields, dict)
    if not right or not _counts((one.rows, one.columns), 1) or not _counts(one.fields.values(), 0):
        raise TableError(f"{path}: {one}: names must be text, sizes integers above 0, fields integers of at least 0")


def _counts(values: Iterable[object], least: int) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= least for value in values)


def _replaced(default: ShapeT, measured: TunedShape, card: str) -> ShapeT:
    unknown = measured.fields.keys() - set(default._fields)
    if unknown:
        raise TableError(f"{card}: {measured.op}, {measured.kind}: its shape has no {', '.join(sorted(unknown))}")
    return default._replace(**measured.fields)
