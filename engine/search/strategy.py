"""The base class of strategies, which grow the tree of a search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass

from .protocol import Growing, Search, Task
from .search_parameters import SearchParameters
from .search_run import SearchRun


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Strategy(SearchParameters, ABC):
    """A strategy with its parameters. To write your own, derive a dataclass from this with a generator `grow`."""

    @abstractmethod
    def grow(self, run: SearchRun) -> Growing[None]:
        """Grow the tree of `run` until `run.finished`: a generator that uses `yield from` on the methods of `run`."""

    def search(self, task: Task) -> Search:
        """Return a generator that searches `task`; the caller runs it and answers its waves and calls."""
        with ExitStack() as held:
            run = SearchRun(self, task, held)
            with run.code.running(f"strategy {self.name!r}"):
                growing = self.grow(run)
                if not isinstance(growing, Generator):
                    raise run.code.error(
                        f"strategy {self.name!r}: grow returned {growing!r:.100}: must be a generator (yield from "
                        "run.roll_out(...))"
                    )
                yield from growing
            return (yield from run.result())


SearchOptions = Strategy
"""The old name of `Strategy`, which works until the next release."""
