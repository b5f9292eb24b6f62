"""Measures which parts of marcot a search spends its time in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from marcot.engine.plan.planner import ItemPlanner
from marcot.engine.search.protocol import Searcher
from marcot.kernels.cpu import Library
from marcot.model import Tokenizer

if TYPE_CHECKING:
    from marcot.engine.search.protocol import Search, Task

HOST = "scheduling"
"""What is left: the scheduler, drawing, and the books of the KV tree."""

_PARTS = (
    ("kernels", Library, "call"),
    ("planning", ItemPlanner, "plan"),
    ("text", Tokenizer, "decode"),
    ("text", Tokenizer, "encode"),
)
"""Methods, and the part that their time counts for. Time inside a nested call counts for that call's part alone."""


class TimeShares:
    """Context manager that adds up the time of each part of a search.

    Attributes:
        seconds: Seconds by part.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(["kernels", HOST, "search", "planning", "text"], 0.0)
        self._stack = [HOST]
        self._held = ExitStack()

    def __enter__(self) -> Self:
        for part, owner, name in _PARTS:
            original = getattr(owner, name)
            setattr(owner, name, self._timed(part, original))
            self._held.callback(setattr, owner, name, original)
        self._since = time.perf_counter()
        return self

    def __exit__(self, *failure: object) -> None:
        self._count()
        self._held.close()

    def of_strategy(self, strategy: Searcher) -> Searcher:
        """Return a strategy that searches like `strategy`; the time that it takes itself counts as "search"."""
        return _TimedStrategy(strategy, self)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of a block for `name`."""
        self._count()
        self._stack.append(name)
        try:
            yield
        finally:
            self._count()
            self._stack.pop()

    def _timed(self, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  (whatever the method takes)
            with self.part(part):
                return method(*arguments, **named)

        return timed

    def _count(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now


class _TimedStrategy:
    def __init__(self, strategy: Searcher, shares: TimeShares) -> None:
        self._strategy = strategy
        self._shares = shares

    def search(self, task: Task) -> Search:
        with self._shares.part("search"):
            search = self._strategy.search(task)
        answers: Any = None
        while True:
            with self._shares.part("search"):
                try:
                    wave = search.send(answers)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
            answers = yield wave
