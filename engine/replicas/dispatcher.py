"""Hands the questions of a stream to replicas, and processes their reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace

from ..outcome import Outcome
from ..search.protocol import Progress
from .assignment_queue import AssignmentQueue
from .messages import ReplicaEvent
from .replica import Replica
from .stragglers import Stragglers


class Dispatcher:
    """Gives each replica as many questions as it may have, and stragglers to those that would be idle.

    Two searches of one question find the same, so the first that finds anything counts, and the other is abandoned.

    Attributes:
        is_over: Whether no questions are left to hand out, unless a worker dies; those being searched go on.
    """

    def __init__(self, replicas: Sequence[Replica], queue: AssignmentQueue, concurrency: int) -> None:
        """Begin a stream.

        Args:
            replicas: The replicas; the pool may replace some, or leave some out.
            queue: The questions.
            concurrency: How many questions a replica may have.
        """
        self._replicas = replicas
        self._queue = queue
        self._concurrency = concurrency
        self._stragglers = Stragglers()
        self._twice: set[int] = set()
        self.is_over = False

    @property
    def running(self) -> int:
        """How many questions are being searched."""
        return len(self._stragglers)

    def feed(self) -> bool:
        """Hand out questions until every replica is full; return False if no questions are left or being searched.

        Questions whose worker has died go first, each to an idle replica; the others wait until all of these have one.
        """
        while self._queue.has_lost:
            idle = next((each for each in self._replicas if each.is_idle), None)
            if idle is None:
                return True
            self._hand_out(idle, alone=True)
        free = [each for each in self._replicas if each.has_room(self._concurrency)]
        heap = [(len(each.assigned), each.number, each) for each in free]
        heapify(heap)
        while heap:
            _, number, replica = heap[0]
            if not self._hand_out(replica, alone=False):
                break
            if replica.has_room(self._concurrency):
                heapreplace(heap, (len(replica.assigned), number, replica))
            else:
                heappop(heap)
        if self.is_over:
            spare = (each for each in free if each.is_idle)
            while self._copy_straggler(spare):
                pass
        return not self.is_over or self.running > 0

    def _hand_out(self, replica: Replica, *, alone: bool) -> bool:
        """Give the next question to a replica; return False if there is none."""
        assignment = self._queue.next()
        self.is_over = assignment is None
        if assignment is not None:
            self._stragglers.begin(assignment.ticket)
            replica.assign(assignment, alone=alone)
        return assignment is not None

    def take(self, replica: Replica, report: ReplicaEvent) -> Iterator[Progress | Outcome]:
        """Yield the event that a replica reports, unless it is outdated."""
        ticket, event = report.ticket, report.event
        if ticket not in replica.assigned:
            return  # it has been abandoned in the meantime
        if not isinstance(event, Outcome):
            if ticket not in replica.copies:
                yield event
            return
        others = self._others(replica, ticket)
        replica.drop(ticket)
        if event.result is None and others:
            for other in others:
                other.copies.discard(ticket)
            return  # the other search may succeed, if it is the replica that has failed
        for other in others:
            other.abandon([ticket])
        self._twice.discard(ticket)
        self._stragglers.end(ticket)
        yield event

    def lose(self, gone: Replica, ended: str) -> None:
        """Give the questions of a replica whose worker has died back to the queue, but for those that another has."""
        lost = []
        for ticket, assignment in gone.assigned.items():
            others = self._others(gone, ticket)
            for other in others:
                other.copies.discard(ticket)
            if not others:
                lost.append(assignment)
                self._stragglers.forget(ticket)
            self._twice.discard(ticket)
        self._queue.lose(lost, ended, alone=len(gone.assigned) == 1)

    def abandon(self) -> None:
        """Cancel all questions that are being searched."""
        for replica in self._replicas:
            replica.abandon(list(replica.assigned))

    def _copy_straggler(self, spare: Iterator[Replica]) -> bool:
        """Give the next idle replica the slowest straggler; return False if there is none of either."""
        ticket = self._stragglers.slowest(self._twice)
        replica = None if ticket is None else next(spare, None)
        if ticket is None or replica is None:
            return False
        assignment = next(each.assigned[ticket] for each in self._replicas if ticket in each.assigned)
        self._twice.add(ticket)
        replica.copies.add(ticket)
        replica.assign(assignment, alone=False)
        return True

    def _others(self, replica: Replica, ticket: int) -> list[Replica]:
        """The other replicas that search a question."""
        if ticket not in self._twice:
            return []
        return [each for each in self._replicas if each is not replica and ticket in each.assigned]
