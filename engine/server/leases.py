"""Branches that clients hold, each until it is released or has been unused for a while."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from ..node import Node
from .errors import RequestError

_ID_BYTES = 12
"""Random bytes in a branch's id, so that clients cannot guess the ids of others."""


@dataclass(slots=True)
class Lease:
    """A branch that a client holds.

    Attributes:
        id: The id that the client uses.
        node: The node at the end of the branch.
        parent: Id of the branch that it was forked from or extends; None for a prompt.
        expires: When it expires, by the clock of its `Leases`.
        users: Requests that use it now; it does not expire while there are any.
    """

    id: str
    node: Node
    parent: str | None
    expires: float
    users: int = 0


class Leases:
    """All branches that clients hold. Not thread-safe: used from one thread only."""

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        """Keep at most `most` branches, each for `seconds` after its last use by `clock`."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._expected = 0
        self._held: dict[str, Lease] = {}
        """Least recently used first, so the first ones expire first."""

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def room(self, more: int) -> Iterator[None]:
        """Keep room for `more` branches, which may be added inside the context.

        Raises:
            RequestError: There is not enough room.
        """
        self.expire()
        if len(self._held) + self._expected + more > self._most:
            raise RequestError(
                f"{len(self._held)} branches are held, and at most {self._most} can be: release some",
                HTTPStatus.TOO_MANY_REQUESTS,
            )
        self._expected += more
        try:
            yield
        finally:
            self._expected -= more

    @contextmanager
    def using(self, ids: Iterable[str]) -> Iterator[list[Lease]]:
        """The branches with these ids; they do not expire inside the context, and their lease time restarts at its end.

        Raises:
            RequestError: A branch does not exist, or no longer exists.
        """
        leases = [self.get(id) for id in ids]
        for lease in leases:
            lease.users += 1
        try:
            yield leases
        finally:
            for lease in leases:
                lease.users -= 1
                if lease.id in self._held:
                    self._restart(lease)

    def add(self, node: Node, parent: str | None) -> Lease:
        """Hold `node`; it is released when its lease ends."""
        lease = Lease(f"br-{secrets.token_hex(_ID_BYTES)}", node, parent, self._clock() + self._seconds)
        self._held[lease.id] = lease
        return lease

    def get(self, id: str) -> Lease:
        """Return the branch `id` and restart its lease time.

        Raises:
            RequestError: The branch does not exist, or no longer exists.
        """
        self.expire()
        lease = self._held.get(id)
        if lease is None:
            raise RequestError(
                "this branch does not exist: it was released, or its lease has expired; create it again",
                HTTPStatus.NOT_FOUND,
            )
        self._restart(lease)
        return lease

    def left(self, lease: Lease) -> float:
        """Seconds until the lease expires if no request uses it."""
        return max(lease.expires - self._clock(), 0.0)

    def release(self, ids: Iterable[str]) -> int:
        """Release the branches with these ids that exist; return how many did."""
        found = [lease for lease in (self._held.pop(id, None) for id in ids) if lease is not None]
        for lease in found:
            lease.node.release()
        return len(found)

    def expire(self) -> int:
        """Release all expired branches; return how many there were."""
        now = self._clock()
        due = itertools.takewhile(lambda lease: lease.expires <= now, self._held.values())
        return self.release([lease.id for lease in due if not lease.users])

    def release_all(self) -> None:
        """Release all branches."""
        self.release(list(self._held))

    def _restart(self, lease: Lease) -> None:
        lease.expires = self._clock() + self._seconds
        self._held[lease.id] = self._held.pop(lease.id)
