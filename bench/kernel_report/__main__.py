"""Compiles every GPU kernel and reads the binaries: `make kernel-report`, or `python -m bench.kernel_report --help`."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from marcot.engine.cli.signals import INTERRUPTED
from rich.console import Console

from .. import RESULTS, ROOT
from ..common.progress import progress_bars

if TYPE_CHECKING:
    from .table import Key, Rows

_TABLE = RESULTS / "kernel_report.json"
_PAGE = ROOT / "docs" / "gpu-kernels.md"
_REMEDY = "make kernel-report CHANGED=1 UPDATE=1"
_SHOWN = 5
"""Maximum number of outdated rows to list."""
_FILE_WIDTH = 170
"""Width of tables, in characters, if the output is not a terminal."""


class _Part(NamedTuple):
    """The rows that a run is restricted to.

    Attributes:
        targets: Names of architectures; empty means all.
        patterns: Patterns for names of variants.
    """

    targets: tuple[str, ...]
    patterns: tuple[str, ...]

    def has(self, key: Key) -> bool:
        """Whether the row of `key` is included."""
        of_target = not self.targets or key.target in self.targets
        return of_target and any(fnmatch(key.variant, pattern) for pattern in self.patterns)


def kernel_report(
    targets: Annotated[
        str, typer.Option(help="Architectures, separated by spaces; all by default.", metavar="NAMES")
    ] = "",
    variants: Annotated[
        str,
        typer.Option(help="Only variants whose names match, such as 'lm_head*, embed*'.", metavar="PATTERNS"),
    ] = "*",
    changed: Annotated[
        bool, typer.Option("--changed", help="Only variants that are not in the table yet or have changed since.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Compiler processes; by default, one per core.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a bar is missed, a row got worse, or the table is outdated.")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Write the results to the table.")] = False,
) -> None:
    """Compile every binary that the GPU kernels can launch, for every kind of GPU. No GPU is needed.

    Prints registers, spills, stack, shared memory, resident blocks, tensor-core instructions, 128-bit loads and
    asynchronous copies of each. They are read from the binary with cuobjdump and nvdisasm, which come with Triton; for
    AMD, from the metadata of the code object and its assembly.

    Bars: nothing spills and nothing is on the stack; every matrix product runs on tensor cores; attention has 2 blocks
    per processor on sm_80 and sm_90.

    The table is bench/results/kernel_report.json. Each row has a fingerprint of its sources. So --check can also apply
    the bars to rows that it does not compile, and detect outdated ones. Continuous integration (.ci/run) compiles some
    variants of each kind for three targets, and relies on the table for the others as long as they have not changed.

    Triton caches compiled kernels in ~/.triton, so a second run takes a fraction of the time, and an interrupted run
    continues where it stopped.

    For example:

      python -m bench.kernel_report --targets "sm_80 sm_90" --variants "tree_attention*"
    """
    os.environ.pop("TRITON_INTERPRET", None)
    part = _Part(tuple(targets.split()), tuple(pattern.strip() for pattern in variants.split(",")))
    try:
        table, sources = _table(), _sources(part.targets)
        keys = [key for key in sources if part.has(key)]
        if changed:
            keys = [key for key in keys if key not in table or table[key].source != sources[key]]
        rows, failures = _compiled(keys, workers or os.cpu_count() or 1)
    except KeyboardInterrupt:
        print("stopped; compiled kernels are kept: run the same command again to continue", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    _show(rows)
    for key, reason in failures.items():
        print(f"does not compile: {key}: {reason}", file=sys.stderr)
    problems = list(_worse(table, rows))
    if update:
        table = _updated(table, rows, sources)
    problems += _missed(table | rows if check or update else rows)
    problems += _outdated(table, sources)
    for line in problems:
        print(line, file=sys.stderr)
    if check and (problems or failures):
        raise typer.Exit(1)


def _table() -> Rows:
    """Return the committed rows."""
    from .table import read_rows

    return read_rows(_TABLE) if _TABLE.exists() else {}


def _sources(targets: Collection[str]) -> dict[Key, str]:
    """Return the fingerprints of all variants that can be launched; `targets` is only checked for unknown names."""
    from .ahead_of_time import source_of, variants_for
    from .table import Key
    from .target import TARGETS

    unknown = [name for name in targets if name not in TARGETS]
    if unknown:
        raise typer.BadParameter(f"{' '.join(unknown)}; known are {' '.join(TARGETS)}", param_hint="--targets")
    return {
        Key(target, name): source_of(variant) for target in TARGETS for name, variant in variants_for(target).items()
    }


def _compiled(keys: list[Key], workers: int) -> tuple[Rows, dict[Key, str]]:
    """Compile `keys`; return the rows, in the order of `keys`, and the reasons of failures."""
    from .ahead_of_time import row_of
    from .compile_workers import Failure, outcomes

    found: Rows = {}
    failures: dict[Key, str] = {}
    with progress_bars() as progress:
        task = progress.add_task("compiling", total=len(keys))
        for key, outcome in outcomes(row_of, keys, min(workers, len(keys))):
            if isinstance(outcome, Failure):
                failures[key] = outcome.reason
            else:
                found[key] = outcome
            progress.update(task, advance=1, description=str(key)[:48].ljust(48))
    return {key: found[key] for key in keys if key in found}, failures


def _show(rows: Rows) -> None:
    from .view import LEGEND, target_tables

    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    for printed in (*target_tables(rows), LEGEND):
        console.print(printed, highlight=False, markup=False)


def _worse(table: Rows, rows: Rows) -> Iterator[str]:
    """Yield the ways in which `rows` are worse than `table`; print how many rows differ at all."""
    from .table import regressions

    yield from (f"worse: {line}" for line in regressions(table, rows))
    differ = sum(row._replace(source="") != table[key]._replace(source="") for key, row in rows.items() if key in table)
    if differ:
        print(f"{differ} of {len(rows)} rows differ from the table; make kernel-report UPDATE=1 refreshes it")


def _updated(table: Rows, rows: Rows, sources: dict[Key, str]) -> Rows:
    """Update `table` with `rows`, remove variants that no longer exist, write it, and return it."""
    from .docs import update_page
    from .table import write_rows

    fresh = {key: row for key in sources if (row := rows.get(key, table.get(key))) is not None}
    write_rows(_TABLE, fresh)
    update_page(_PAGE, fresh)
    print(f"wrote {_TABLE}")
    return fresh


def _missed(rows: Rows) -> Iterator[str]:
    """Yield the bars that `rows` miss."""
    from .table import missed

    yield from (f"missed: {line}" for line in missed(rows))


def _outdated(table: Rows, sources: dict[Key, str]) -> Iterator[str]:
    """Yield the first few rows of `table` that are outdated, and the command that updates them."""
    from .table import outdated

    lines = list(outdated(table, sources))
    yield from (f"outdated: {line}" for line in lines[:_SHOWN])
    if lines:
        yield f"{len(lines)} rows of the table are outdated; to bring it up to date: {_REMEDY}"


if __name__ == "__main__":
    typer.run(kernel_report)
