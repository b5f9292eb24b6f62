"""Compiles every GPU kernel and reads the binaries: `make kernel-report`, or `python bench/kernel_report.py --help`."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from kernel_table import Key, Rows

_TABLE = Path(__file__).parent / "results" / "kernel_report.json"
_INTERRUPTED = 130
"""Exit code of a program that was stopped by Ctrl-C."""
_FILE_WIDTH = 170
"""Columns of a table that no terminal shows."""


class _Part(NamedTuple):
    """Which rows a run is about.

    Attributes:
        targets: Names of architectures; none means all.
        pattern: Of the variants' names.
    """

    targets: tuple[str, ...]
    pattern: str

    def __contains__(self, key: object) -> bool:
        target, variant = key  # type: ignore[misc]
        return (not self.targets or target in self.targets) and fnmatch(variant, self.pattern)


def kernel_report(
    targets: Annotated[
        str, typer.Option(help="Architectures, space between; all of them by default.", metavar="NAMES")
    ] = "",
    variants: Annotated[
        str, typer.Option(help="Only variants with names like this, such as 'lm_head*'.", metavar="PATTERN")
    ] = "*",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that compile; one per core by default.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a bar is missed or anything is worse than in the table.")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Write what was found to the committed table.")] = False,
) -> None:
    """Compile every binary that the GPU kernels can launch, for every kind of GPU. No GPU is needed.

    Prints registers, spills, stack, shared memory, resident blocks, tensor-core instructions, 128-bit loads and
    asynchronous copies of each, read from the binary: with the cuobjdump and nvdisasm that come with Triton, and for
    AMD from the code object's metadata and the assembly that it was made from.

    Bars: nothing spills and nothing is on a stack, every product runs on tensor cores, attention has 2 blocks per
    processor on sm_80 and sm_90. And nothing may be worse than in bench/results/kernel_report.json, missing or new.

    Triton keeps what it has compiled in ~/.triton, so that a second run takes a fraction of the first, and a run that
    was stopped goes on where it was.

    For example:

      python bench/kernel_report.py --targets "sm_80 sm_90" --variants "tree_attention*"
    """
    os.environ.pop("TRITON_INTERPRET", None)
    part = _Part(tuple(targets.split()), variants)
    try:
        rows, failures = _compiled(_keys(part), workers or os.cpu_count() or 1)
    except KeyboardInterrupt:
        print("stopped; what is compiled is kept: the same command goes on from here", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None
    _show(rows)
    problems = [f"does not compile: {key}: {reason}" for key, reason in failures.items()]
    problems += _update(part, rows, bool(failures)) if update else _compare(part, rows, failures)
    for line in problems:
        print(line, file=sys.stderr)
    if problems and check:
        raise typer.Exit(1)


def _keys(part: _Part) -> list[Key]:
    """What is to be compiled."""
    from ahead_of_time import variants_for
    from gpu_target import TARGETS
    from kernel_table import Key

    unknown = [name for name in part.targets if name not in TARGETS]
    if unknown:
        raise typer.BadParameter(f"{' '.join(unknown)}; known are {' '.join(TARGETS)}", param_hint="--targets")
    keys = (Key(target, variant) for target in part.targets or TARGETS for variant in variants_for(target))
    return [key for key in keys if key in part]


def _compiled(keys: list[Key], workers: int) -> tuple[Rows, dict[Key, str]]:
    """The rows, in the order of `keys`, and why the others have none."""
    from ahead_of_time import row_of
    from compile_workers import Failure, outcomes

    found: Rows = {}
    failures: dict[Key, str] = {}
    with _progress() as progress:
        task = progress.add_task("compiling", total=len(keys))
        for key, outcome in outcomes(row_of, keys, min(workers, len(keys))):
            if isinstance(outcome, Failure):
                failures[key] = outcome.reason
            else:
                found[key] = outcome
            progress.update(task, advance=1, description=str(key)[:48].ljust(48))
    return {key: found[key] for key in keys if key in found}, failures


def _show(rows: Rows) -> None:
    from kernel_view import LEGEND, target_tables

    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    for printed in (*target_tables(rows), LEGEND):
        console.print(printed, highlight=False, markup=False)


def _compare(part: _Part, rows: Rows, failures: dict[Key, str]) -> list[str]:
    """What is not as it should be, bars first."""
    from kernel_table import missed, read_rows, regressions, versions

    problems = [f"missed: {line}" for line in missed(rows)]
    if not _TABLE.exists():
        return [*problems, f"there is no {_TABLE}: make kernel-report UPDATE=1"]
    made_with, table = read_rows(_TABLE)
    before = {key: row for key, row in table.items() if key in part and key not in failures}
    worse = list(regressions(before, rows))
    problems += [f"worse: {line}" for line in worse]
    changed = sum(row != before.get(key) for key, row in rows.items())
    if changed:
        print(f"{changed} of {len(rows)} rows are not as in the table; make kernel-report UPDATE=1 refreshes it")
    if changed and made_with != versions():
        print(f"the table was made with {made_with}, these rows with {versions()}")
    return problems


def _update(part: _Part, rows: Rows, incomplete: bool) -> list[str]:
    """Write the table, with what it had of other parts; returns the bars that are missed."""
    from kernel_table import missed, read_rows, versions, write_rows

    if incomplete:
        return [*missed(rows), f"{_TABLE} stays as it is, since not everything compiles"]
    kept = {key: row for key, row in read_rows(_TABLE)[1].items() if key not in part} if _TABLE.exists() else {}
    write_rows(_TABLE, versions(), kept | rows)
    print(f"wrote {_TABLE}")
    return [f"missed: {line}" for line in missed(rows)]


def _progress() -> Progress:
    """Bars on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


if __name__ == "__main__":
    typer.run(kernel_report)
