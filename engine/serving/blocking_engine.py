"""An engine that any number of threads can use at once."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Sequence
from datetime import date as Date
from threading import Event
from types import TracebackType
from typing import Never, Self, TypeVar, overload

from ..engine import Engine
from ..expansion import Expansion
from ..node import Node
from ..routines.routine import Routine
from ..sampling.sampling import Sampling
from ..scheduler.expansion_batch import parse_expansions
from ..scoring import Score
from ..search.protocol import Searcher
from ..search.question import QuestionLike
from ..search.rollout.instruction import AUTO
from .blocking_request import BlockingGeneration, BlockingSearching
from .engine_stats import EngineStats
from .engine_thread import MAX_REQUESTS, EngineThread, no_event

T = TypeVar("T")


class BlockingEngine:
    """Serves any number of threads with one engine; a context manager. It has the methods of `AsyncEngine`.

    Attributes:
        engine: The engine it serves with.
    """

    def __init__(self, engine: Engine, *, max_requests: int = MAX_REQUESTS) -> None:
        """Start to serve with `engine`; see `AsyncEngine`."""
        self.engine = engine
        self._thread = EngineThread(engine, max_requests)

    def generate(
        self,
        prompt: str | Sequence[int] | Node,
        sampling: Sampling | None = None,
        *,
        n: int = 1,
        first: int = 0,
        priority: int = 0,
        request_id: str | None = None,
        keep: bool = False,
        cache_salt: str | None = None,
    ) -> BlockingGeneration:
        """Draw `n` samples that continue a prompt; see `AsyncEngine.generate`."""
        is_read = Event()
        routine = self.engine.routines.generate(
            prompt if isinstance(prompt, Node) else self.engine.routines.codec.encode(prompt, bos=True),
            Sampling() if sampling is None else sampling,
            n,
            first,
            priority,
            keep=keep,
            cache_salt=cache_salt,
            is_read=is_read.is_set,
        )
        return BlockingGeneration(self._thread, routine, is_read, request_id)

    def prefill(self, prompt: str | Sequence[int], *, priority: int = 0, cache_salt: str | None = None) -> Node:
        """Compute a prompt; see `Engine.prefill`."""
        ids = self.engine.routines.codec.encode(prompt, bos=True)
        return self._result(self.engine.routines.prefill(ids, priority, cache_salt))

    @overload
    def expand(
        self, node: Node, n: int = 1, sampling: Sampling | None = None, *, first: int = 0, priority: int = 0
    ) -> list[Node]: ...

    @overload
    def expand(self, node: Expansion, *, priority: int = 0) -> list[Node]: ...  # type: ignore[overload-overlap]

    @overload
    def expand(
        self,
        node: Iterable[Node | Expansion],
        n: int = 1,
        sampling: Sampling | None = None,
        *,
        first: int = 0,
        priority: int = 0,
    ) -> list[list[Node]]: ...

    def expand(
        self,
        node: Node | Expansion | Iterable[Node | Expansion],
        n: int = 1,
        sampling: Sampling | None = None,
        *,
        first: int = 0,
        priority: int = 0,
    ) -> list[Node] | list[list[Node]]:
        """Draw `n` continuations of a node, or of each of many nodes; see `Engine.expand`."""
        expansions, is_one = parse_expansions(node, n, sampling, first)
        families = self._result(self.engine.routines.expand(expansions, priority))
        return families[0] if is_one else families

    def score(
        self,
        sequences: str | Sequence[int] | Iterable[str | Sequence[int]],
        top_k: int = 5,
        *,
        after: Node | None = None,
        priority: int = 0,
        keep: bool = False,
        cache_salt: str | None = None,
    ) -> list[Score]:
        """Rate given tokens; see `Engine.score`."""
        return self._result(
            self.engine.routines.score(sequences, top_k, after, priority, keep=keep, cache_salt=cache_salt)
        )

    def search(
        self,
        question: QuestionLike,
        strategy: Searcher,
        *,
        system: str | None = None,
        instruction: str | None = AUTO,
        date: Date | None = None,
        priority: int = 0,
        request_id: str | None = None,
        cache_salt: str | None = None,
    ) -> BlockingSearching:
        """Search a question; see `AsyncEngine.search`."""
        searches = self.engine.routines.searches(
            [question],
            strategy,
            system=system,
            instruction=instruction,
            date=date,
            priority=priority,
            cache_salt=cache_salt,
        )
        return BlockingSearching(self._thread, self.engine.routines.search(searches), request_id)

    def call(self, work: Callable[[], T]) -> T:
        """Call `work` in the engine's thread; see `AsyncEngine.call`."""
        return self._result(self.engine.routines.call(work))

    def cancel(self, request_id: str) -> bool:
        """Ask an open request to end; False if no open request has that name."""
        return self._thread.cancel(request_id)

    @property
    def is_open(self) -> bool:
        """Whether it accepts requests."""
        return self._thread.is_open

    def stats(self) -> EngineStats:
        """How busy the engine is and what it has done, as of its last step."""
        return self._thread.stats

    def drain(self) -> None:
        """Stop accepting requests, and wait until the open ones have ended."""
        concurrent.futures.wait(self._thread.drain())

    def close(self) -> None:
        """Stop accepting requests, cancel the open ones, and give the engine back. Closing twice is harmless."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _result(self, routine: Routine[Never, T]) -> T:
        submission = self._thread.submit(routine, no_event)
        try:
            return submission.future.result()
        except KeyboardInterrupt:
            submission.cancel()
            raise
