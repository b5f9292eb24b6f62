"""The table of `make kernel-report`: a row per kernel variant and GPU architecture, and the bars for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from marcot.model.files.atomic_file import write_atomically

from .binary import Binary, Loads
from .occupancy import LIMITS, Needs, resident_blocks
from .target import TARGETS

_DECODE_BLOCKS = 2
_DECODE_TARGETS = ("sm_80", "sm_90")
_DECODE = "tree_attention "


class Key(NamedTuple):
    """Identifies a row.

    Attributes:
        target: Name of the architecture.
        variant: Name of the variant.
    """

    target: str
    variant: str

    def __str__(self) -> str:
        return f"{self.target}, {self.variant}"


class Row(NamedTuple):
    """A variant compiled for one GPU architecture. See `Binary` and `Instructions` for details.

    Attributes:
        registers: Registers per thread.
        spilled: Vector registers that the compiler reports as spilled; on AMD only.
        parked: Scalar registers that the compiler keeps in vector registers; on AMD only.
        stored: Bytes stored to local memory, per thread.
        loaded: Bytes loaded from local memory, per thread.
        stack: Bytes of local memory per thread.
        shared: Bytes of shared memory per block.
        tensor_columns: Columns of tensor memory per block.
        threads: Threads per block.
        blocks: Resident blocks per processor.
        tensor: Tensor-core instructions; like the next two, None if the disassembler does not support the target.
        loads: Loads from global memory.
        copies: Asynchronous copies to shared memory.
        multiplies: Whether tensor cores are expected.
        source: Fingerprint of what was compiled.
    """

    registers: int
    spilled: int
    parked: int
    stored: int | None
    loaded: int | None
    stack: int
    shared: int
    tensor_columns: int
    threads: int
    blocks: int
    tensor: dict[str, int] | None
    loads: Loads | None
    copies: Loads | None
    multiplies: bool
    source: str

    @staticmethod
    def of(binary: Binary, target: str, source: str) -> Row:
        """Return the row of `binary`, compiled for `target` from a source with the fingerprint `source`."""
        warps = binary.threads // TARGETS[target].arch.warp
        needs = Needs(warps, binary.registers, binary.shared, binary.scalars, binary.tensor_columns)
        code = binary.instructions
        return Row(
            registers=binary.registers,
            spilled=binary.spilled,
            parked=binary.parked,
            stored=code and code.stored,
            loaded=code and code.loaded,
            stack=binary.stack,
            shared=binary.shared,
            tensor_columns=binary.tensor_columns,
            threads=binary.threads,
            blocks=resident_blocks(LIMITS[target], needs),
            tensor=code and code.tensor,
            loads=code and code.loads,
            copies=code and code.copies,
            multiplies=binary.multiplies,
            source=source,
        )

    @property
    def spills(self) -> int:
        """Spilled registers plus bytes stored to and loaded from local memory; 0 if nothing spills."""
        return self.spilled + (self.stored or 0) + (self.loaded or 0)


Rows = dict[Key, Row]


def missed(rows: Mapping[Key, Row]) -> Iterator[str]:
    """Yield one line for each bar that a row misses."""
    for key, row in rows.items():
        if row.spills:
            registers = f"{row.spilled} registers, " if row.spilled else ""
            yield f"{key}: spills ({registers}{row.stored} bytes stored, {row.loaded} loaded)"
        if row.stack:
            yield f"{key}: {row.stack} bytes of stack"
        if row.blocks == 0:
            tensor = f", {row.tensor_columns} columns of tensor memory" if row.tensor_columns else ""
            yield f"{key}: a block does not fit ({row.threads} threads, {row.shared} bytes of shared memory{tensor})"
        if row.multiplies and row.tensor == {}:
            yield f"{key}: products without tensor cores"
        if _is_decode(key) and row.blocks < _DECODE_BLOCKS:
            yield f"{key}: {row.blocks} blocks per processor, asked {_DECODE_BLOCKS}"


def _is_decode(key: Key) -> bool:
    return key.target in _DECODE_TARGETS and key.variant.startswith(_DECODE)


def outdated(table: Mapping[Key, Row], sources: Mapping[Key, str]) -> Iterator[str]:
    """Yield one line for each row of `table` that is missing, obsolete, or was compiled from a different source."""
    for key in table.keys() - sources.keys():
        yield f"{key}: no such variant any more"
    for key, source in sources.items():
        if key not in table:
            yield f"{key}: not in the table"
        elif table[key].source != source:
            yield f"{key}: has changed since the table was made"


def regressions(table: Mapping[Key, Row], now: Mapping[Key, Row]) -> Iterator[str]:
    """Yield one line for each number of a row that is worse than in `table`."""
    for key, row in now.items():
        if key not in table:
            continue
        old = table[key]
        if row.spills > old.spills:
            yield f"{key}: spills {row.spills}, were {old.spills}"
        if row.stack > old.stack:
            yield f"{key}: {row.stack} bytes of stack, were {old.stack}"
        if row.blocks < old.blocks:
            yield f"{key}: {row.blocks} blocks per processor, were {old.blocks}"
        lost = (old.tensor or {}).keys() - (row.tensor or {}).keys()
        if lost and row.tensor is not None:
            yield f"{key}: no more {', '.join(sorted(lost))}"
        for what, is_now, was in (("loads", row.loads, old.loads), ("copies", row.copies, old.copies)):
            if is_now is not None and was is not None and was.wide and not is_now.wide:
                yield f"{key}: no more {what} of 128 bits"


def write_rows(path: Path, rows: Mapping[Key, Row]) -> None:
    """Write `rows`, one per line. The write is atomic: if interrupted, it leaves the old file."""
    targets: dict[str, list[str]] = {}
    for key, row in sorted(rows.items(), key=lambda item: (list(TARGETS).index(item[0].target), item[0].variant)):
        targets.setdefault(key.target, []).append(f"{json.dumps(key.variant)}: {json.dumps(row._asdict())}")
    parts = (f"{json.dumps(target)}: {{\n" + ",\n".join(lines) + "\n}" for target, lines in targets.items())
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    write_atomically(path, text.encode())


def read_rows(path: Path) -> Rows:
    """Read a file written by `write_rows`."""
    targets = json.loads(path.read_text())
    return {
        Key(target, variant): _row(row) for target, variants in targets.items() for variant, row in variants.items()
    }


def _row(content: dict[str, Any]) -> Row:
    loads, copies = (content[name] and Loads(*content[name]) for name in ("loads", "copies"))
    return Row(**content | {"loads": loads, "copies": copies})
