"""Shows the progress of searches on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..outcome import Outcome
from ..results.pace import Pace, time_left
from ..results.question_file import InputQuestion
from ..search import Progress
from ..text.printable import printable
from ..text.terminal import Terminal

PLAIN_LINE_EVERY = 5.0
"""Seconds between two lines if stderr is not a terminal."""

PLAIN_QUESTIONS = 3
"""Maximum open questions in such a line."""

_COLUMNS = ("#", "rollouts", "nodes", "tokens", "best value", "best answer", "question")
_FEW_COLUMNS = ("#", "rollouts", "best answer")
"""The columns of the table on a narrow terminal."""

_WIDE = 80
"""Minimum width of a terminal, in characters, for all columns of the table."""

_TEXT_COLUMNS: Mapping[str, dict[str, Any]] = {"best answer": {"max_width": 24}, "question": {"style": "dim"}}
"""The columns with text instead of numbers, and how they are drawn."""


class LiveView:
    """On a terminal, a table of the open questions that is redrawn in place; elsewhere, a line every few seconds."""

    def __init__(self, questions: Sequence[InputQuestion], rollouts: int | None) -> None:
        """Prepare a view.

        Args:
            questions: The questions that are searched; events refer to them by position.
            rollouts: How many rollouts each will have; None if that varies.
        """
        self._questions = questions
        self._rollouts = rollouts
        self._pace = Pace(len(questions))
        self._last_line = time.monotonic()
        self._console = Terminal(stderr=True)
        self._live: Live | None = None

    def show(self, event: Progress | Outcome) -> None:
        """Show the next event of `Engine.stream`."""
        self._pace.take(event)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            # If progress messages cannot be written, the run still goes on.
            with suppress(OSError):
                self._console.print(self._plain_line(), soft_wrap=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the table while something else is printed."""
        self.__exit__(None, None, None)
        yield
        self.__enter__()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            # A new display each time: a stopped one remembers its height and would erase what was printed since.
            self._live = Live(
                console=self._console,
                get_renderable=self._table,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _summary(self) -> str:
        pace = self._pace
        left = f", {time_left(pace.seconds_left)}" if pace.questions > 1 else ""
        return f"{pace}, {pace.tokens} tokens, {pace.tokens_per_s:.1f} tokens/s, {pace.seconds:.0f} s{left}"

    def _plain_line(self) -> str:
        rows = [
            f"#{self._questions[index].index + 1}: {self._state(progress)}"
            for index, progress in list(self._pace.open.items())[:PLAIN_QUESTIONS]
        ]
        return "; ".join([self._summary(), *rows])

    def _state(self, progress: Progress) -> str:
        best = f", best {progress.best_value:.3f} ({_best(progress)})" if progress.rollouts else ""
        waiting = f", waiting for {printable(progress.waiting_for)}" if progress.waiting_for else ""
        return f"{self._counted(progress)} rollouts, {progress.nodes} nodes{best}{waiting}"

    def _counted(self, progress: Progress) -> str:
        return f"{progress.rollouts}" if self._rollouts is None else f"{progress.rollouts}/{self._rollouts}"

    def _table(self) -> Group:
        rows = Table.grid(padding=(0, 2))
        columns = _COLUMNS if self._console.width >= _WIDE else _FEW_COLUMNS
        for name in columns:
            if name in _TEXT_COLUMNS:
                rows.add_column(name, no_wrap=True, overflow="ellipsis", **_TEXT_COLUMNS[name])
            else:
                rows.add_column(name, justify="right", no_wrap=True)
        rows.add_row(*columns, style="dim")
        for index, progress in self._pace.open.items():
            question = self._questions[index]
            cells: dict[str, str | Text] = {
                "#": str(question.index + 1),
                "rollouts": self._counted(progress),
                "nodes": str(progress.nodes),
                "tokens": str(progress.generated_tokens),
                "best value": f"{progress.best_value:.3f}" if progress.rollouts else "",
                "best answer": Text(_best(progress)),
                "question": Text(printable(_doing(progress) or " ".join(question.text.split()))),
            }
            rows.add_row(*(cells[name] for name in columns))
        return Group(rows, Text(self._summary()))


def _doing(progress: Progress) -> str:
    """What the search waits for, if not for the model."""
    return f"waiting for {progress.waiting_for}" if progress.waiting_for else ""


def _best(progress: Progress) -> str:
    """The best answer so far, and how many chains gave it."""
    agreeing, answered = progress.votes
    return f"{printable(progress.best_answer)}, {agreeing} of {answered}" if progress.best_answer else ""
