"""A replica on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import ray
from ray.exceptions import RayError

from .messages import LoadFailure, Report, Request
from .replica import Replica

LOAD_RETRIES = 1
"""`max_task_retries` of an actor. With none, `load` could not wait for an actor that is being started again. The other
calls are not retried: what they were about is lost with the process, and the pool has it done again."""


class RayReplica(Replica):
    """A Ray actor, which Ray starts again when it dies, on another node if it has to.

    Attributes:
        pending: The reference that is ready once the actor has something to say.
    """

    def __init__(self, number: int, actor: Any) -> None:  # noqa: ANN401  (ray has no types for actors)
        """Have `actor`, a `RayWorker`, load its model."""
        super().__init__(number)
        self._actor = actor
        self._name: str | None = None
        self._ended = ""
        self.pending: Any = actor.load.remote()

    def stop(self) -> None:  # noqa: D102  (see `Replica`)
        ray.kill(self._actor)

    def farewell(self) -> str:  # noqa: D102
        return self._ended

    def replace(self) -> Self:  # noqa: D102
        return type(self)(self.number, self._actor)

    def _send(self, request: Request) -> None:
        self._actor.take.options(max_task_retries=0).remote(self._name, request)

    def _receive(self) -> Sequence[Report]:
        reports: Sequence[Report]
        try:
            if self._name is None:
                self._name, reports = ray.get(self.pending)
            else:
                reports = ray.get(self.pending)
        except RayError as error:
            told = str(error).partition("\n")[0]
            self._ended = f"was lost ({told})"
            raise EOFError from error
        if not isinstance(reports[0], LoadFailure):
            self.pending = self._actor.listen.options(max_task_retries=0).remote(self._name)
        return reports
