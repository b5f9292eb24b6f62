"""What a person sees on stderr while searches run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..outcome import Outcome
from ..question_file import Question
from ..search import Progress
from .printable import printable

PLAIN_LINE_EVERY = 5.0
"""Seconds between two lines where stderr is no terminal."""

PLAIN_QUESTIONS = 3
"""Open questions that such a line tells about."""


class LiveView:
    """On a terminal, a table of the open questions that is redrawn in place; elsewhere, a line now and then."""

    def __init__(self, questions: Sequence[Question], rollouts: int | None) -> None:
        """Prepare a view.

        Args:
            questions: Those that are searched; events refer to them by position.
            rollouts: How many each will have; None if that depends.
        """
        self._questions = questions
        self._rollouts = rollouts
        self._open: dict[int, Progress] = {}
        self._finished = 0
        self._finished_tokens = 0
        self._started = time.monotonic()
        self._last_line = self._started
        self._console = Console(stderr=True)
        self._live: Live | None = None

    def show(self, event: Progress | Outcome) -> None:
        """Take the next event of `Engine.stream`."""
        if isinstance(event, Progress):
            self._open[event.index] = event
        else:
            self._open.pop(event.index, None)
            self._finished += 1
            if event.result is not None and event.result.stats is not None:
                self._finished_tokens += event.result.stats.generated_tokens
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            self._console.print(self._plain_line(), soft_wrap=True, highlight=False, markup=False)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the table away while something else is printed."""
        self.__exit__(None, None, None)
        yield
        self.__enter__()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            # A new one each time: one that was stopped remembers its height, and would erase what was printed since.
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

    def _speed(self) -> str:
        tokens = self._finished_tokens + sum(progress.generated_tokens for progress in self._open.values())
        seconds = time.monotonic() - self._started
        return f"{tokens} tokens, {tokens / max(seconds, 1e-9):.1f} tokens/s, {seconds:.0f} s"

    def _plain_line(self) -> str:
        head = f"{self._finished} of {len(self._questions)} questions, {self._speed()}"
        rows = [
            f"#{self._questions[index].index + 1}: {self._state(progress)}"
            for index, progress in sorted(self._open.items())[:PLAIN_QUESTIONS]
        ]
        return "; ".join([head, *rows])

    def _state(self, progress: Progress) -> str:
        best = f", best {progress.best_value:.3f} ({printable(progress.best_answer)})" if progress.rollouts else ""
        return f"{self._counted(progress)} rollouts, {progress.nodes} nodes{best}"

    def _counted(self, progress: Progress) -> str:
        return f"{progress.rollouts}" if self._rollouts is None else f"{progress.rollouts}/{self._rollouts}"

    def _table(self) -> Group:
        rows = Table.grid(padding=(0, 2))
        for name in ("#", "rollouts", "nodes", "tokens", "best value"):
            rows.add_column(name, justify="right", no_wrap=True)
        rows.add_column("best answer", no_wrap=True, overflow="ellipsis", max_width=24)
        rows.add_column("question", no_wrap=True, overflow="ellipsis", style="dim")
        rows.add_row("#", "rollouts", "nodes", "tokens", "best value", "best answer", "question", style="dim")
        for index, progress in sorted(self._open.items()):
            question = self._questions[index]
            rows.add_row(
                str(question.index + 1),
                self._counted(progress),
                str(progress.nodes),
                str(progress.generated_tokens),
                f"{progress.best_value:.3f}" if progress.rollouts else "",
                Text(printable(progress.best_answer)),
                Text(" ".join(question.text.split())),
            )
        return Group(rows, Text(f"{self._finished} of {len(self._questions)} questions, {self._speed()}"))
