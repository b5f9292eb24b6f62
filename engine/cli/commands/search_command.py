"""A run of `marcot search`: questions in, results out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from textwrap import shorten
from typing import Any

from ...errors import OutputError
from ...outcome import Outcome
from ...results.json_form import JsonObject, is_correct, to_line
from ...results.provenance import check_unchanged
from ...results.question_file import InputQuestion
from ...results.question_run import QuestionRun, QuestionSearcher
from ...search import SearchResult, Strategy, solutions
from ...text.printable import printable
from ...view import TreeFile
from ..live_view import LiveView
from ..report import print_report
from ..signals import INTERRUPTED
from ..streams import as_output_error, is_broken_pipe, say


@dataclass(frozen=True, slots=True)
class SearchCommand:
    """The options of `marcot search`, and the run.

    Attributes:
        questions: What to search.
        strategy: How to search.
        model: The model as the user named it.
        numbers: Number formats and compute mode, as the user named them.
        system: System message, or None for the chat template's default.
        instruction: The text added to each question, or `"auto"`.
        concurrency: Questions that are searched at a time.
        out: File to append results to and resume from.
        json: Print JSON lines instead of reports.
        tree: The file or files for the search trees.
        solutions: How many different solutions to show; 0 for the answer alone.
        stats_out: File to append statistics of the run to.
        date: The date that the chat template shows as today's; None for the date in `out`, else today.
    """

    questions: Sequence[InputQuestion]
    strategy: Strategy
    model: str
    numbers: Mapping[str, str]
    system: str | None
    instruction: str
    concurrency: int
    out: Path | None
    json: bool
    tree: TreeFile | None = None
    solutions: int = 0
    stats_out: Path | None = None
    date: date | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The options that a result depends on: neither the device nor other questions."""
        asked = {"system": self.system, "instruction": self.instruction}
        return {"model": self.model, **self.numbers, **asked, **self.strategy.settings()}

    def run(self, load: Callable[[str], AbstractContextManager[QuestionSearcher]]) -> int:
        """Search the questions that are not in `out` yet; return 0 or the exit code of the first question that failed.

        Args:
            load: Loads a model; called only if there is something to search.
        """
        with QuestionRun(self.questions, self.strategy, self.settings, self.out, self.stats_out) as run:
            tally = run.tally
            if tally.skipped:
                no_tree = "; no tree is written for them" if self.tree is not None else ""
                say(f"{tally.skipped} of {len(self.questions)} questions are already in {self.out}{no_tree}")
            if not run.todo:
                if run.file is not None:
                    check_unchanged(self.model, run.file)
                return 0
            try:
                with load(self.model) as searcher:
                    self._search(searcher, run)
            except KeyboardInterrupt:
                resume = f"; run the same command again to resume from {self.out}" if self.out else ""
                say(f"interrupted: finished {tally.finished} of {len(run.todo)} questions{resume}")
                return INTERRUPTED
            except OSError as error:
                if self.out is None or is_broken_pipe(error):
                    raise
                raise OutputError(
                    f"{as_output_error(error)}; run the same command again to resume from {self.out}"
                ) from error
        if len(self.questions) > 1:
            say(str(tally))
        return tally.exit_code

    def _search(self, searcher: QuestionSearcher, run: QuestionRun) -> None:
        events = run.events(
            searcher,
            system=self.system,
            instruction=self.instruction,
            concurrency=self.concurrency,
            day=self.date,
            different=self.solutions,
        )
        with closing(events), LiveView(run.todo, self.strategy.rollouts) as view:
            for question, event, entry in events:
                view.show(event)
                if isinstance(event, Outcome):
                    assert entry is not None
                    with view.paused():
                        self._print(question, event, entry)
                        self._draw(question, event, run.settings)

    def _print(self, question: InputQuestion, outcome: Outcome, entry: JsonObject) -> None:
        """Print an outcome to stdout, and a failure to stderr as well."""
        if outcome.error is not None:
            name = f"question {question.index + 1}: " if len(self.questions) > 1 else ""
            say(f"error: {name}{outcome.error}")
        if self.json:
            print(to_line(entry), flush=True)
        elif outcome.result is not None and len(self.questions) == 1:
            print_report(outcome.result, sys.stdout, solutions(outcome.result.rollouts, self.solutions))
        elif outcome.result is not None:
            print(_row(question, outcome.result), flush=True)

    def _draw(self, question: InputQuestion, outcome: Outcome, settings: Mapping[str, Any]) -> None:
        """Write the tree of a finished search."""
        if self.tree is not None and outcome.result is not None:
            path = self.tree.write(question.index, outcome.result, settings)
            if len(self.questions) == 1:
                say(f"the tree is in {path}")


def _row(question: InputQuestion, result: SearchResult) -> str:
    """The line about one question of several."""
    verdict = {True: "right", False: "wrong", None: "-"}[is_correct(question, result)]
    answer = shorten(printable(result.answer), 40, placeholder="...") or "(none)"
    text = shorten(printable(question.text), 80, placeholder="...")
    agreeing, answered = result.votes
    sure = f"{result.confidence:.2f} ({agreeing} of {answered})"
    return f"{question.index + 1}\t{answer}\t{sure}\t{verdict}\t{text}"
