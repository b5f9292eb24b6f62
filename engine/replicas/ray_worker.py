"""The actor of a replica on a Ray cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from .messages import LoadFailure, ReplicaEvent, Report, Request
from .question_worker import QuestionWorker, load_engine


class RayWorker:
    """An engine that searches questions; its methods are coroutines, so that Ray runs them side by side.

    Ray starts it again in a new process when it dies. What was sent to the process before must not reach the new one,
    so each has a name of its own, which whoever sends has to know.
    """

    def __init__(self, model: str, options: Mapping[str, Any]) -> None:
        """Remember what to load: an error here would end the actor for good."""
        self._model = model
        self._options = options
        self._name = uuid4().hex
        self._worker: QuestionWorker | None = None
        self._reports: dict[int, ReplicaEvent] = {}
        self._news = asyncio.Event()

    async def load(self) -> tuple[str, Sequence[Report]]:
        """Load the model; return the name of this process, and the report.

        A process that has done so already is one that the pool takes for lost: it ends, and Ray calls the next one.
        """
        if self._worker is not None:
            os._exit(1)
        loaded = load_engine(self._model, self._options)
        if isinstance(loaded, LoadFailure):
            return self._name, [loaded]
        engine, ready = loaded
        self._worker = QuestionWorker(engine, self._report)
        return self._name, [ready]

    async def take(self, name: str, request: Request) -> None:
        """Search a question, or cancel some, if this process is called `name`."""
        if self._worker is not None and name == self._name:
            self._worker.take(request)

    async def listen(self, name: str) -> Sequence[Report]:
        """Wait for events since the last call; return the latest of each question.

        Raises:
            RuntimeError: The process called `name` is gone, and this is the one that Ray has started after it.
        """
        if name != self._name:
            raise RuntimeError("its process has died, and has been started again")
        await self._news.wait()
        self._news.clear()
        reports, self._reports = self._reports, {}
        return list(reports.values())

    def _report(self, event: ReplicaEvent) -> None:
        self._reports[event.ticket] = event
        self._news.set()
