"""The common part of all pools of replicas, for any kind of connection."""

from __future__ import annotations

import atexit
import logging
import pickle
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from datetime import date as Date
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from ...kernels import MarcotError
from ..checking import check_integer
from ..errors import EngineBusyError, EngineClosedError, InputError, WorkerLostError
from ..outcome import Outcome
from ..results.outcome_tally import OutcomeTally
from ..results.question_run import RunOptions, run_questions
from ..search.protocol import Progress, Searcher, check_strategy
from ..search.question import Question, QuestionLike, one_or_many
from ..search.rollout.instruction import AUTO
from ..search.strategy import Strategy
from ..usage import Usage
from .assignment_queue import AssignmentQueue
from .dispatcher import Dispatcher
from .messages import Assignment, LoadFailure, Ready, ReplicaEvent, Report
from .replica import Replica

_MOST_FAILED_LOADS = 3
"""How many workers in a row may die in one place before they have loaded the model, while no question ends anywhere."""

_SPARE_SECONDS = 0.5
"""How often an idle replica looks for stragglers."""

_LOGGER = logging.getLogger(__name__)


class ReplicaDriver(ABC):
    """Searches the questions of a stream with replicas; a context manager.

    Questions are handed out one by one: a replica gets the next question as soon as it has finished one. A worker that
    dies for any reason is replaced, and its open questions are searched again from the start, each alone in a worker,
    which shows which question kills its worker. When no questions are left, an idle replica also searches the question
    that takes longest. Results equal those of a single engine.

    Attributes:
        settings: `Engine.settings`.
        shows_date: Whether the chat template shows today's date.
    """

    def __init__(self, model: str) -> None:
        """Begin without replicas; a subclass adds them and waits for them."""
        self._model = model
        self._replicas: list[Replica] = []
        self._lost = Usage()
        self._tickets = count()
        self._is_streaming = False
        self._failed_loads: Counter[int] = Counter()
        self.settings: Mapping[str, str] = {}
        self.shows_date = False
        atexit.register(self.close)  # otherwise the process would wait for the workers, and they for questions

    @property
    def usage(self) -> Usage:
        """The work that all replicas have reported."""
        total = self._lost.copy()
        for replica in self._replicas:
            total.add(replica.usage)
        return total

    @property
    def kv_pages(self) -> tuple[int, int]:
        """Pages of all KV caches together: in use, and in total."""
        pages = [(replica.kv_pages, replica.kv_capacity) for replica in self._replicas]
        return sum(used for used, _ in pages), sum(capacity for _, capacity in pages)

    def stream(
        self,
        questions: QuestionLike | Iterable[QuestionLike],
        strategy: Searcher,
        *,
        system: str | None = None,
        instruction: str | None = AUTO,
        concurrency: int = 8,
        date: Date | None = None,
    ) -> Generator[Progress | Outcome]:
        """Search questions as `Engine.stream` does, at most `concurrency` at a time in each replica.

        Raises:
            InputError: An argument is invalid, or the strategy cannot be pickled.
            EngineClosedError: The pool is closed.
            EngineBusyError: Another stream of the pool has not ended.
            MarcotError: A replacement worker cannot load the model.
            WorkerLostError: Workers died again and again before they had loaded the model.
        """
        check_integer("concurrency", concurrency, "at least 1", least=1)
        check_strategy(strategy)
        try:
            pickled = pickle.dumps(strategy)
        except Exception as error:
            raise InputError(f"strategy: cannot be sent to another process: {error}") from error
        day = date or Date.today()
        asked = one_or_many(questions)
        total = len(asked) if isinstance(asked, Sized) else None
        finished = 0

        def assign(ticket: int, position: int, question: Question) -> Assignment:
            return Assignment(ticket, position, question, pickled, system, instruction, day)

        if self._is_streaming:
            raise EngineBusyError("this pool is searching another stream: read that one to its end, or close it first")
        self._is_streaming = True
        queue = AssignmentQueue(asked, self._tickets, assign)
        dispatcher = Dispatcher(self._replicas, queue, concurrency)
        try:
            for event in self._events(queue, dispatcher):
                if isinstance(event, Outcome):
                    finished += 1
                    self._failed_loads.clear()
                    yield event
                else:
                    yield replace(event, finished=finished, running=dispatcher.running, total=total)
        finally:
            self._is_streaming = False
            dispatcher.abandon()
        if queue.error is not None:
            raise queue.error

    def run(
        self, questions: Path | Iterable[QuestionLike], strategy: Strategy, **options: Unpack[RunOptions]
    ) -> OutcomeTally:
        """Search a file or an iterable of questions and write the results to disk; see `run_questions`."""
        return run_questions(self, questions, strategy, **options)

    def close(self) -> None:
        """End all workers. Closing twice is harmless."""
        atexit.unregister(self.close)
        for replica in self._replicas:
            replica.stop()
        self._replicas.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _wait(self, seconds: float | None) -> Sequence[Replica]:
        """Wait for messages of any replica; return those that have one, none if `seconds` have passed."""

    def _load(self, least: int) -> None:
        """Wait until `least` replicas are ready; close the pool after an error.

        Raises:
            MarcotError: The model cannot be loaded.
        """
        try:
            while sum(replica.is_ready for replica in self._replicas) < least:
                for replica in self._wait(None):
                    self._receive(replica, None)
        except BaseException:
            self.close()
            raise

    def _events(self, queue: AssignmentQueue, dispatcher: Dispatcher) -> Iterator[Progress | Outcome]:
        """Search all questions of `queue` with the replicas, and yield their reports."""
        has_room, fed = True, 0.0
        while True:
            if not self._replicas:
                raise EngineClosedError("this pool is closed, and has no workers any more: open another one")
            if has_room or time.monotonic() - fed >= _SPARE_SECONDS:
                goes_on, fed = dispatcher.feed(), time.monotonic()
                while queue.outcomes:
                    yield queue.outcomes.popleft()
                if not goes_on:
                    return
            has_room = False
            for replica in self._wait(_SPARE_SECONDS if dispatcher.is_over else None):
                reports = self._receive(replica, dispatcher)
                has_room = has_room or not reports or not all(map(_is_progress, reports))
                for report in reports:
                    if isinstance(report, ReplicaEvent):
                        yield from dispatcher.take(replica, report)

    def _receive(self, replica: Replica, dispatcher: Dispatcher | None) -> Sequence[Report]:
        """Receive the messages of a replica. One that is gone is replaced, and has none.

        Raises:
            MarcotError: The model cannot be loaded.
        """
        try:
            reports = replica.receive()
        except EOFError:
            self._replace(replica, dispatcher)
            return ()
        for report in reports:
            if not isinstance(report, ReplicaEvent):
                self._welcome(replica, report)
        return reports

    def _welcome(self, replica: Replica, report: Report) -> None:
        """Process a worker's message that it has loaded the model."""
        if isinstance(report, LoadFailure):
            self._leave_out(replica, report.error)
        elif isinstance(report, Ready):
            if self.settings and self.settings != report.settings:
                told = "has loaded other weights than the others; give all of them the same files"
                self._leave_out(replica, InputError(f"replica {replica.number} {told}"))
                return
            self.settings, self.shows_date = report.settings, report.shows_date
            del self._failed_loads[replica.number]

    def _replace(self, gone: Replica, dispatcher: Dispatcher | None) -> None:
        """Replace a replica whose worker has died, and queue its questions again."""
        ended = gone.farewell()
        self._lost.add(gone.usage)
        following = gone.replace()
        self._replicas[self._replicas.index(gone)] = following
        if dispatcher is not None:
            dispatcher.lose(gone, ended)
        self._failed_loads[gone.number] += not gone.is_ready
        if self._failed_loads[gone.number] >= _MOST_FAILED_LOADS:
            told = f"replica {gone.number} {ended} while it loaded {self._model}, {_MOST_FAILED_LOADS} times in a row"
            self._leave_out(following, WorkerLostError(told))

    def _leave_out(self, replica: Replica, error: MarcotError) -> None:
        """Go on without a replica that cannot work, if the pool allows that.

        Raises:
            MarcotError: `error`, if it may not.
        """
        if not self._does_without(replica):
            raise error
        _LOGGER.warning("%s; the others go on without it", error)
        self._replicas.remove(replica)
        replica.stop()

    def _does_without(self, replica: Replica) -> bool:
        """Whether the pool can go on without a replica."""
        return False


def _is_progress(report: Report) -> bool:
    """Whether a report leaves its replica as busy as it was."""
    return isinstance(report, ReplicaEvent) and isinstance(report.event, Progress)
