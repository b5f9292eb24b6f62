"""Branches that clients hold, each until it is released or nobody has used it for a while."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from ..node import Node
from .errors import RequestError

_ID_BYTES = 12
"""Of a branch's id: others' branches cannot be guessed."""


@dataclass(slots=True)
class Lease:
    """A branch that a client holds.

    Attributes:
        id: What the client calls it.
        node: The state that it stands for.
        parent: The branch that it was forked from or extends; None for a prompt.
        expires: Until when it lives.
        users: Requests that use it just now; it does not expire meanwhile.
    """

    id: str
    node: Node
    parent: str | None
    expires: float
    users: int = 0


class Leases:
    """All branches that clients hold. They are used in one thread."""

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        """Keep at most `most` branches, each for `seconds` after its last use by `clock`."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._held: dict[str, Lease] = {}
        """Those that were used longest ago come first."""

    def __len__(self) -> int:
        return len(self._held)

    def check_room(self, more: int) -> None:
        """See that `more` branches can be held.

        Raises:
            RequestError: They are too many.
        """
        self.expire()
        if len(self._held) + more > self._most:
            raise RequestError(
                f"{len(self._held)} branches are held, and at most {self._most} can be: release some",
                HTTPStatus.TOO_MANY_REQUESTS,
            )

    def add(self, node: Node, parent: str | None) -> Lease:
        """Hold `node`, which is released with its lease."""
        lease = Lease(f"br-{secrets.token_hex(_ID_BYTES)}", node, parent, self._clock() + self._seconds)
        self._held[lease.id] = lease
        return lease

    def get(self, id: str) -> Lease:
        """The branch `id`, whose time begins anew.

        Raises:
            RequestError: There is none, or none any more.
        """
        self.expire()
        lease = self._held.pop(id, None)
        if lease is None:
            raise RequestError(
                "there is no such branch; it was released, or its lease has expired", HTTPStatus.NOT_FOUND
            )
        lease.expires = self._clock() + self._seconds
        self._held[id] = lease
        return lease

    def left(self, lease: Lease) -> float:
        """Seconds that it lives if nobody uses it."""
        return max(lease.expires - self._clock(), 0.0)

    def release(self, ids: Iterable[str]) -> int:
        """Let go of these branches, as far as they are there; return how many were."""
        found = [lease for lease in (self._held.pop(id, None) for id in ids) if lease is not None]
        for lease in found:
            lease.node.release()
        return len(found)

    def expire(self) -> int:
        """Let go of those whose time is over; return how many they were."""
        now = self._clock()
        over = [lease.id for lease in self._held.values() if lease.expires <= now and not lease.users]
        return self.release(over)

    def release_all(self) -> None:
        """Let go of all."""
        self.release(list(self._held))
