"""What a person sees on stderr while an evaluation runs."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from ..outcome import Outcome
from ..search import Progress, SearchOptions

PLAIN_LINE_EVERY = 30.0
"""Seconds between two lines where stderr is no terminal."""


class EvalView:
    """On a terminal, a bar for all runs and one for the present run; elsewhere, a line now and then."""

    def __init__(self, questions: int) -> None:
        """Prepare a view of `questions` in all, those of every model and strategy counted."""
        self._questions = questions
        self._finished = 0
        self._tokens = 0
        self._open: dict[int, Progress] = {}
        self._name, self._size = "", 0
        self._rollouts: int | None = None
        self._budget: int | None = None
        self._run_finished = self._right = 0
        self._started = self._last_line = time.monotonic()
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._all = self._bars.add_task("all", total=questions, note="")
        self._run = self._bars.add_task("", total=0, note="", visible=False)

    def begin(self, name: str, size: int, strategy: SearchOptions) -> None:
        """A run of `size` questions begins."""
        self._name, self._size = name, size
        self._rollouts, self._budget = strategy.rollouts, strategy.max_tokens
        self._run_finished = self._right = 0
        self._open.clear()
        self._bars.reset(self._run, description=name, total=size, visible=True, note="")

    def show(self, event: Progress | Outcome, correct: bool = False) -> None:
        """Take the next event of `Engine.stream`; for a result, whether it is right."""
        if isinstance(event, Progress):
            self._open[event.index] = event
        else:
            self._open.pop(event.index, None)
            self._finished += 1
            self._run_finished += 1
            self._right += correct
            if event.result is not None and event.result.stats is not None:
                self._tokens += event.result.stats.generated_tokens
        self._bars.update(self._all, completed=self._finished, note=self._speed())
        self._bars.update(self._run, completed=self._run_finished, note=f"{self._right} right")
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            self._console.print(self._plain_line(), soft_wrap=True, highlight=False, markup=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def _speed(self) -> str:
        seconds = time.monotonic() - self._started
        tokens = self._tokens + sum(progress.generated_tokens for progress in self._open.values())
        return f"{tokens / max(seconds, 1e-9):.0f} tokens/s, {self._remaining(seconds)}"

    def _remaining(self, seconds: float) -> str:
        """An estimate from the questions so far, each as far as it is."""
        done = self._finished + sum(map(self._share, self._open.values()))
        if done < 0.5:
            return "no estimate yet"
        left = round(seconds / done * (self._questions - done))
        return f"about {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"

    def _share(self, progress: Progress) -> float:
        """How much of an open question is done."""
        by_rollouts = progress.rollouts / self._rollouts if self._rollouts else 0.0
        by_tokens = progress.generated_tokens / self._budget if self._budget else 0.0
        return min(1.0, max(by_rollouts, by_tokens))

    def _plain_line(self) -> str:
        run = f"{self._name}: {self._run_finished} of {self._size} questions, {self._right} right"
        return f"{run}; in all {self._finished} of {self._questions}, {self._speed()}"
