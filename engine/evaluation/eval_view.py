"""Progress display on stderr while an evaluation runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NamedTuple, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column

from ..outcome import Outcome
from ..results.pace import Pace, time_left
from ..search import Progress, Strategy
from ..text.printable import printable
from ..text.terminal import Terminal

PLAIN_LINE_EVERY = 30.0
"""Seconds between two progress lines if stderr is not a terminal."""

_WIDE = 90
"""Columns from which a terminal has room for bars."""

_NUMBERS = 28
"""Columns that a narrow terminal needs for the numbers beside the name."""


class EvalStage(NamedTuple):
    """A part of a run: one strategy of one model.

    Attributes:
        name: Its name in the view.
        questions: Number of questions left to answer.
        strategy: The strategy.
    """

    name: str
    questions: int
    strategy: Strategy

    @property
    def weight(self) -> float:
        """Expected chains per question according to the strategy's limits; costs are taken as proportional to it."""
        most, budget = self.strategy.rollouts, self.strategy.max_tokens
        by_tokens = None if budget is None else budget / self.strategy.max_rollout_tokens
        return max(1.0, min((each for each in (most, by_tokens) if each is not None), default=1.0))


class EvalView:
    """On a terminal, one bar for all stages and one for the current stage; elsewhere, a line every 30 seconds."""

    def __init__(self, stages: Sequence[EvalStage]) -> None:
        """Prepare a view of `stages`, in the order in which they will run."""
        self._stages = stages
        self._paces: list[Pace] = []
        self._right = 0
        self._last_line = time.monotonic()
        self._console = Terminal(stderr=True)
        self._is_narrow = self._console.width < _WIDE
        name = Column(no_wrap=True, max_width=max(8, self._console.width - _NUMBERS) if self._is_narrow else None)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False, table_column=name),
            *([] if self._is_narrow else [BarColumn(bar_width=24)]),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn(
                "{task.fields[note]}", style="dim", markup=False, table_column=Column(no_wrap=True, min_width=18)
            ),
            *([] if self._is_narrow else [TimeElapsedColumn()]),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._all = self._bars.add_task("all", total=self._questions, note="")
        self._run = self._bars.add_task("", total=0, note="", visible=False)

    def begin(self) -> None:
        """Start the next stage."""
        stage = self._stages[len(self._paces)]
        self._paces.append(Pace(stage.questions))
        self._right = 0
        self._bars.reset(self._run, description=printable(stage.name), total=stage.questions, visible=True, note="")

    def show(self, event: Progress | Outcome, correct: bool = False) -> None:
        """Show the next event of `Engine.stream`.

        Args:
            event: The event.
            correct: Whether the answer is right, if the event is a result.
        """
        pace = self._paces[-1]
        pace.take(event)
        self._right += correct
        self._bars.update(self._all, completed=self._finished, note=self._note())
        self._bars.update(self._run, completed=pace.finished, note=f"{self._right} right")
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            # The evaluation goes on even if stderr cannot be written.
            with suppress(OSError):
                self._console.print(self._plain_line(), soft_wrap=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bars while something else is printed."""
        self._bars.stop()
        yield
        self._bars.start()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until all stages are finished; None until the first measurement."""
        measured = {position: pace for position, pace in enumerate(self._paces) if pace.cost is not None}
        if not measured:
            return None
        # The cost of a strategy that has not run yet is taken as proportional to its chains.
        chains = sum(self._stages[position].weight * pace.finished for position, pace in measured.items())
        per_chain = sum(pace.finished * (pace.cost or 0.0) for pace in measured.values()) / chains
        speed = sum(pace.tokens for pace in measured.values()) / sum(pace.seconds for pace in measured.values())
        left = 0.0
        for position, stage in enumerate(self._stages):
            pace = self._paces[position] if position < len(self._paces) else Pace(stage.questions)
            alike = [other for at, other in measured.items() if self._stages[at].strategy == stage.strategy]
            known = measured.get(position, alike[-1] if alike else None)
            cost = per_chain * stage.weight if known is None else known.cost or 0.0
            left += pace.tokens_left(cost) / (speed if known is None else known.tokens_per_s)
        return left

    @property
    def _questions(self) -> int:
        return sum(stage.questions for stage in self._stages)

    @property
    def _finished(self) -> int:
        return sum(pace.finished for pace in self._paces)

    @property
    def _tokens_per_s(self) -> float:
        return sum(pace.tokens for pace in self._paces) / max(sum(pace.seconds for pace in self._paces), 1e-9)

    def _speed(self) -> str:
        return f"{self._tokens_per_s:.0f} tokens/s, {time_left(self.seconds_left)}"

    def _note(self) -> str:
        return time_left(self.seconds_left) if self._is_narrow else self._speed()

    def _plain_line(self) -> str:
        run = f"{self._stages[len(self._paces) - 1].name}: {self._paces[-1]}, {self._right} right"
        return f"{run}; in all {self._finished} of {self._questions}, {self._speed()}"
