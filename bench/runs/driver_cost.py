"""Measures what a question costs the process that hands it out and writes its result: bytes and CPU time."""

from __future__ import annotations

import pickle
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from marcot.engine import MCTS, Outcome
from marcot.engine.replicas.messages import Abandon, Ready, ReplicaEvent, Report, Request
from marcot.engine.replicas.replica import Replica
from marcot.engine.replicas.replica_driver import ReplicaDriver
from marcot.engine.usage import Usage

from ..host.canned_engine import canned_engine
from ..host.canned_kernels import DeviceClock

CONCURRENCY = 8
STRATEGY = MCTS()
_QUESTION = "How many of 17 eggs are left if 3 are eaten, 4 are baked and the rest is sold for 2 dollars each? "


@dataclass
class DriverCost:
    """What questions cost the driver of a pool.

    Attributes:
        replicas: Replicas of the pool.
        questions: Questions that were run.
        tokens: Tokens drawn for a question.
        bytes_out: Bytes of a question on its way to a replica.
        bytes_in: Bytes of its reports.
        bytes_written: Bytes of its line in the results file.
        cpu_ms: CPU time of the driver per question: hand out, read, write.
        wall_ms: Wall time per question, the last sync to disk included.
    """

    replicas: int
    questions: int
    tokens: int
    bytes_out: int
    bytes_in: int
    bytes_written: int
    cpu_ms: float
    wall_ms: float


class EchoReplica(Replica):
    """A replica that answers at once with a prepared result, as bytes that have to be read."""

    def __init__(self, number: int, reports: Sequence[bytes], ready: deque[Replica]) -> None:
        """Answer with `reports`, and enter `ready` with each."""
        super().__init__(number)
        self._reports = reports
        self._ready = ready
        self._waiting: deque[Report] = deque([Ready({}, False, 1)])
        self.sizes: list[int] = []
        ready.append(self)

    def stop(self) -> None:
        """Do nothing."""

    def farewell(self) -> str:
        """It never ends."""
        raise NotImplementedError

    def replace(self) -> Self:
        """It never has to be."""
        raise NotImplementedError

    def _send(self, request: Request) -> None:
        if isinstance(request, Abandon):
            return
        self.sizes.append(len(pickle.dumps(request)))
        for each in self._reports:
            report: ReplicaEvent = pickle.loads(each)
            event = replace(report.event, index=request.position)
            self._waiting.append(report._replace(ticket=request.ticket, event=event))
            self._ready.append(self)

    def _receive(self) -> Sequence[Report]:
        return (self._waiting.popleft(),)


class EchoPool(ReplicaDriver):
    """A pool of replicas that answer at once."""

    def __init__(self, replicas: int, reports: Sequence[bytes]) -> None:
        """Make the replicas."""
        super().__init__("echo")
        self._ready: deque[Replica] = deque()
        self._replicas += [EchoReplica(number, reports, self._ready) for number in range(replicas)]
        self._load(least=replicas)

    def _wait(self, seconds: float | None) -> Sequence[Replica]:
        return (self._ready.popleft(),)


def driver_cost(replicas: int, questions: int) -> DriverCost:
    """Run `questions` questions through a pool of `replicas` replicas that answer at once."""
    engine = canned_engine(DeviceClock())
    events = list(engine.stream(_QUESTION, STRATEGY))
    reports = [pickle.dumps(ReplicaEvent(10**6, event, Usage(10**9, 10**9, 10**9), 10**4)) for event in events]
    [result] = [event.result for event in events if isinstance(event, Outcome) and event.result is not None]
    asked = [f"{_QUESTION}{number}" for number in range(questions)]
    with EchoPool(replicas, reports) as pool, tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.jsonl"
        wall, cpu = time.perf_counter(), time.process_time()
        tally = pool.run(asked, STRATEGY, out=out, concurrency=CONCURRENCY)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert tally.finished == questions, str(tally)
        written = out.stat().st_size
        sizes = [size for each in pool._replicas if isinstance(each, EchoReplica) for size in each.sizes]
    return DriverCost(
        replicas=replicas,
        questions=questions,
        tokens=result.stats.generated_tokens if result.stats else 0,
        bytes_out=sum(sizes) // len(sizes),
        bytes_in=sum(map(len, reports)),
        bytes_written=written // questions,
        cpu_ms=1e3 * cpu / questions,
        wall_ms=1e3 * wall / questions,
    )
