"""An engine for any number of tasks."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterable, Sequence
from datetime import date as Date
from threading import Event
from types import TracebackType
from typing import Never, Self, TypeVar

from ..engine import Engine
from ..expansion import Expansion
from ..node import Node
from ..routines.routine import Routine
from ..sampling.sampling import Sampling
from ..scoring import Score
from ..search.protocol import Searcher
from ..search.question import QuestionLike
from ..search.rollout.instruction import AUTO
from .async_request import Generation, Searching
from .engine_stats import EngineStats
from .engine_thread import MAX_REQUESTS, EngineThread, no_event

T = TypeVar("T")


class AsyncEngine:
    """Serves any number of tasks, in one or several event loops, with one engine; an async context manager.

    A thread of its own runs the engine: requests of all callers share its steps, and what comes is taken in while
    others run. Whoever else uses the engine meanwhile gets an `EngineBusyError`; `close` gives it back.

    What is returned can be read in any thread, and nodes can be released in any. What else a node does goes through
    `call`: `await engine.call(lambda: node.append(" because"))`.

    Of what waits, requests with the highest `priority` go first, and of equal ones the oldest; where the KV cache is
    full, the lowest and youngest make room. Nothing else of a result depends on what runs beside it.

    Attributes:
        engine: What it serves with: for its `config`, `tokenizer`, `settings` and `chat_ids`.
    """

    def __init__(self, engine: Engine, *, max_requests: int = MAX_REQUESTS) -> None:
        """Start to serve with `engine`.

        Args:
            engine: Nobody is at work with it.
            max_requests: Requests that may be open at a time, whether they run or wait.

        Raises:
            InputError: `max_requests` is no integer >= 1.
            EngineBusyError: The engine is at work, or somebody serves with it already.
        """
        self.engine = engine
        self._thread = EngineThread(engine, max_requests)

    async def generate(
        self,
        prompt: str | Sequence[int] | Node,
        sampling: Sampling | None = None,
        *,
        n: int = 1,
        first: int = 0,
        priority: int = 0,
        request_id: str | None = None,
        keep: bool = False,
    ) -> Generation:
        """Continue a prompt by `n` samples, which can be read while they are drawn.

        Args:
            prompt: Text (special tokens in it are recognised), token ids such as those of `Engine.chat_ids`, or a node.
            sampling: How to sample; `Sampling()` by default.
            n: Samples.
            first: Index of the first sample; see `Engine.expand`.
            priority: Any integer.
            request_id: A name for `cancel`; made up by default.
            keep: Whether the last piece of each choice holds its node, from which it can be continued.

        Returns:
            The generation, when it is checked and queued.

        Raises:
            QueueFullError: As many requests are open as may be.
            EngineClosedError: The engine is draining or closed.
            InputError: An argument makes no sense.
            MarcotError: What `Engine.prefill` and `Engine.expand` raise; while it runs it is the iteration that does.
        """
        is_read = Event()
        routine = self.engine.routines.generate(
            prompt if isinstance(prompt, Node) else self.engine.routines.codec.encode(prompt, bos=True),
            Sampling() if sampling is None else sampling,
            n,
            first,
            priority,
            keep=keep,
            is_read=is_read.is_set,
        )
        return await Generation(self._thread, routine, is_read, request_id).opened()

    async def prefill(self, prompt: str | Sequence[int], *, priority: int = 0) -> Node:
        """Compute a prompt; see `Engine.prefill`."""
        ids = self.engine.routines.codec.encode(prompt, bos=True)
        return await self._result(self.engine.routines.prefill(ids, priority))

    async def expand(self, expansions: Iterable[Expansion], *, priority: int = 0) -> list[list[Node]]:
        """Continue nodes; see `Engine.expand`."""
        return await self._result(self.engine.routines.expand(list(expansions), priority))

    async def score(
        self,
        sequences: str | Sequence[int] | Iterable[str | Sequence[int]],
        top_k: int = 5,
        *,
        after: Node | None = None,
        priority: int = 0,
        keep: bool = False,
    ) -> list[Score]:
        """Rate given tokens; see `Engine.score`."""
        return await self._result(self.engine.routines.score(sequences, top_k, after, priority, keep=keep))

    async def search(
        self,
        question: QuestionLike,
        strategy: Searcher,
        *,
        system: str | None = None,
        instruction: str | None = AUTO,
        date: Date | None = None,
        priority: int = 0,
        request_id: str | None = None,
    ) -> Searching:
        """Search a question; see `Engine.stream`. What the strategy calls of yours is called in the engine's thread."""
        searches = self.engine.routines.searches(
            [question], strategy, system=system, instruction=instruction, date=date, priority=priority
        )
        return Searching(self._thread, self.engine.routines.search(searches), request_id)

    async def call(self, work: Callable[[], T]) -> T:
        """Do `work` in the engine's thread, between two steps: what is quickly done with nodes or the engine."""
        return await self._result(self.engine.routines.call(work))

    def cancel(self, request_id: str) -> bool:
        """Ask for the end of an open request, from any thread; False if there is none of that name."""
        return self._thread.cancel(request_id)

    @property
    def is_open(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_open

    def stats(self) -> EngineStats:
        """How busy it is and what it has done, as of the last step; from any thread."""
        return self._thread.stats

    async def drain(self) -> None:
        """Take no more requests, and wait for those that are open."""
        await asyncio.to_thread(concurrent.futures.wait, self._thread.drain())

    async def close(self) -> None:
        """Take no more requests, cancel those that are open, and give the engine back. Doing it twice is harmless."""
        await asyncio.to_thread(self._thread.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _result(self, routine: Routine[Never, T]) -> T:
        submission = self._thread.submit(routine, no_event)
        try:
            return await asyncio.wrap_future(submission.future)
        except asyncio.CancelledError:
            submission.cancel()
            raise
