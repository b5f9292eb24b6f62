"""Times a whole search and other ways of doing it: `make bench-search`, or `python -m bench.search --help`."""

from __future__ import annotations

import sys
from typing import Annotated

import marcot.engine  # noqa: F401  (before torch: it makes OpenMP threads wait, not spin)
import typer
from marcot.engine.cli.signals import INTERRUPTED, listen
from marcot.kernels import MarcotError
from marcot.model import locate
from rich.console import Console

from .. import RESULTS, ROOT
from ..common.machine import measure_machine
from .lineup import LINEUP, MODEL
from .report import text, update_page
from .results import SearchResults
from .run import NoResultsError, SearchRun
from .workload import FULL, QUICK

_KEYS = " ".join(one.key for one in LINEUP)
_RESULTS = RESULTS / "search.json"
_PAGE = ROOT / "docs" / "benchmarks.md"


def bench_search(
    model: Annotated[str, typer.Option(help="A built-in name or a checkpoint's path.")] = MODEL,
    contestants: Annotated[str, typer.Option(help="Separated by spaces; marcot always runs.")] = _KEYS,
    quick: Annotated[bool, typer.Option("--quick", help="One question and few tokens, to try out changes.")] = False,
    questions: Annotated[int | None, typer.Option(min=1, max=250, help="MGSM questions.")] = None,
    rollouts: Annotated[int | None, typer.Option(min=1, help="Chains per question.")] = None,
    rollout_tokens: Annotated[int | None, typer.Option(min=1, help="Maximum tokens of a chain.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="How often everything is timed.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Only write docs/benchmarks.md from the last results.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a target is missed.")] = False,
) -> None:
    """Time the same tree search on marcot and on other ways of doing it, and print one table.

    A whole run writes bench/results/search.json and the table in docs/benchmarks.md; a part of it, or one that Ctrl-C
    stops, writes bench/results/search_part.json only.
    """
    if page:
        if not _RESULTS.exists():
            print(f"there is no {_RESULTS.relative_to(ROOT)} yet: run all of make bench-search first", file=sys.stderr)
            raise typer.Exit(2)
        update_page(_PAGE, SearchResults.read(_RESULTS))
        return
    workload = QUICK if quick else FULL
    workload = workload._replace(
        questions=questions or workload.questions,
        rollouts=rollouts or workload.rollouts,
        rollout_tokens=rollout_tokens or workload.rollout_tokens,
        rounds=rounds or workload.rounds,
    )
    keys = contestants.split()
    if unknown := set(keys) - set(_KEYS.split()):
        print(f"no contestant is called {' or '.join(sorted(unknown))}: choose from {_KEYS}", file=sys.stderr)
        raise typer.Exit(2)
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        path = locate(model)
        run = SearchRun(path, model, measure_machine(), workload, log.print)
        results = run.measure([one.name for one in LINEUP if one.key in keys])
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except (MarcotError, NoResultsError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    whole = workload == FULL and model == MODEL and len(results.entries) == len(LINEUP) and not run.stopped
    print(text(results))
    for note in results.notes:
        print(f"note: {note}")
    for line in results.missed:
        print(f"missed: {line}")
    results.write(_RESULTS if whole else RESULTS / "search_part.json")
    if whole:
        update_page(_PAGE, results)
    if run.stopped:
        raise typer.Exit(INTERRUPTED)
    if check and results.missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    listen()
    typer.run(bench_search)
