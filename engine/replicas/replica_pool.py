"""Engines in several processes that search questions like a single engine."""

from __future__ import annotations

import atexit
import os
import pickle
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from datetime import date as Date
from itertools import count
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from ..checking import check_integer
from ..errors import InputError, WorkerLostError
from ..outcome import Outcome
from ..results.outcome_tally import OutcomeTally
from ..results.question_run import RunOptions, run_questions
from ..search.protocol import Progress, Searcher, check_strategy
from ..search.question import Question, QuestionLike, one_or_many
from ..search.rollout.instruction import AUTO
from ..search.strategy import Strategy
from ..usage import Usage
from .assignment_queue import AssignmentQueue
from .messages import Assignment, LoadFailure, Ready, ReplicaEvent
from .replica import Replica
from .replica_device import ReplicaDevice

MAX_REPLICAS = 64


class ReplicaPool:
    """Replicas of a model, each an engine in its own process; a context manager.

    Questions are handed out one by one: a replica gets the next question as soon as it has finished one. A worker that
    dies for any reason is replaced, and its open questions are searched again from the start, each alone in a worker,
    which shows which question kills its worker. Results equal those of a single engine.

    Attributes:
        settings: `Engine.settings`.
        shows_date: Whether the chat template shows today's date.
    """

    def __init__(self, model: str, devices: Sequence[str], **options: Any) -> None:  # noqa: ANN401  (of `Engine.load`)
        """Load `model` once for each device.

        Args:
            model: Its name or path.
            devices: For example `["cuda:0", "cuda:1"]`, or `["cpu"] * 4`, whose cores (or `threads`) are divided among
                the replicas.
            options: Options of `Engine.load`; `kv_tokens` applies to each replica.

        Raises:
            InputError: A device does not exist, or there are too few or too many.
            MarcotError: The model cannot be loaded.
        """
        if isinstance(devices, str):
            raise InputError(f"devices={devices!r:.100}: must be a list, such as [{devices!r:.100}] * 2")
        check_integer("devices", len(devices), f"1 to {MAX_REPLICAS}", least=1, most=MAX_REPLICAS)
        self._model = model
        self._devices = [ReplicaDevice.parse(device) for device in devices]
        on_cpu = sum(device.kind == "cpu" for device in self._devices)
        if on_cpu:
            cores, threads = len(os.sched_getaffinity(0)), options.get("threads")
            threads = cores if threads is None else check_integer("threads", threads, "at least 1", least=1)
            options["threads"] = max(1, threads // on_cpu)
        self._options = options
        self._lost = Usage()
        self._tickets = count()
        self.settings: Mapping[str, str] = {}
        self.shows_date = False
        self._replicas: list[Replica] = []
        atexit.register(self.close)  # or the process would wait for the workers, and they for questions
        try:
            for device in self._devices:
                self._replicas.append(Replica(model, device, options))
            while not all(replica.is_ready for replica in self._replicas):
                for number in self._heard():
                    self._load(number)
        except BaseException:
            self.close()
            raise

    @property
    def usage(self) -> Usage:
        """The work of all replicas, as far as they have reported it."""
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
            MarcotError: A replacement worker cannot load the model.
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

        queue = AssignmentQueue(asked, self._tickets, assign)
        try:
            for event in self._events(queue, concurrency):
                if isinstance(event, Outcome):
                    finished += 1
                    yield event
                else:
                    running = sum(len(each.assigned) for each in self._replicas)
                    yield replace(event, finished=finished, running=running, total=total)
        finally:
            for replica in self._replicas:
                replica.abandon()
        if queue.error is not None:
            raise queue.error

    def run(
        self, questions: Path | Iterable[QuestionLike], strategy: Strategy, **options: Unpack[RunOptions]
    ) -> OutcomeTally:
        """Search a file or an iterable of questions and write the results to disk; see `run_questions`."""
        return run_questions(self, questions, strategy, **options)

    def close(self) -> None:
        """End all worker processes. Closing twice is harmless."""
        atexit.unregister(self.close)
        for replica in self._replicas:
            replica.stop()
        self._replicas = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _events(self, queue: AssignmentQueue, concurrency: int) -> Iterator[Progress | Outcome]:
        """Have all questions of `queue` searched, and yield what the replicas report."""
        while True:
            goes_on = self._feed(queue, concurrency)
            while queue.outcomes:
                yield queue.outcomes.popleft()
            if not goes_on:
                return
            for number in self._heard():
                replica = self._replicas[number]
                try:
                    message = replica.receive()
                except EOFError:
                    self._replace(number, queue)
                    continue
                if not isinstance(message, ReplicaEvent):
                    self._take(message)
                elif message.ticket in replica.assigned:
                    if isinstance(message.event, Outcome):
                        del replica.assigned[message.ticket]
                    yield message.event

    def _feed(self, queue: AssignmentQueue, concurrency: int) -> bool:
        """Hand out questions until every replica is full; return False if no questions are left or being searched.

        Questions whose worker has died go first, each to an idle replica; the others wait until all of these have one.
        """
        while True:
            alone = queue.has_lost
            free = [each for each in self._replicas if each.has_room(1 if alone else concurrency)]
            if not free:
                return True
            replica = min(free, key=lambda each: len(each.assigned))
            assignment = queue.next()
            if assignment is None:
                return any(each.assigned for each in self._replicas)
            try:
                replica.assign(assignment, alone=alone)
            except OSError:
                return True  # the worker is gone: `receive` will raise EOFError

    def _heard(self) -> list[int]:
        """Wait for a message from any replica; return the numbers of all replicas that have one."""
        found = wait([replica.connection for replica in self._replicas])
        return [number for number, replica in enumerate(self._replicas) if replica.connection in found]

    def _load(self, number: int) -> None:
        """Receive the first message of a replica.

        Raises:
            MarcotError: The replica cannot load its model.
        """
        try:
            self._take(self._replicas[number].receive())
        except EOFError:
            ended = self._replicas[number].stop()
            raise WorkerLostError(f"replica {number + 1} {ended} while it loaded {self._model}") from None

    def _take(self, message: Ready | ReplicaEvent | LoadFailure) -> None:
        if isinstance(message, LoadFailure):
            raise message.error
        if isinstance(message, Ready):
            self.settings, self.shows_date = message.settings, message.shows_date

    def _replace(self, number: int, queue: AssignmentQueue) -> None:
        """Replace a dead worker and give its questions back to `queue`.

        Raises:
            WorkerLostError: The worker died before it had loaded its model.
        """
        gone = self._replicas[number]
        ended = gone.stop()
        if not gone.is_ready:
            raise WorkerLostError(f"replica {number + 1} {ended} while it loaded {self._model}")
        self._lost.add(gone.usage)
        self._replicas[number] = Replica(self._model, self._devices[number], self._options)
        queue.lose(gone.assigned.values(), ended)
