"""The base class of what the scheduler runs (`Branch`, `Prefill` and `Scoring`), and `Prefill`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ...kernels import MarcotError
from ..kv.node import KVNode
from ..usage import Usage

if TYPE_CHECKING:
    from ..scoring import Scoring
    from .branch import Branch


class Request(ABC):
    """A path of the KV tree with work to do at its end.

    Attributes:
        fork: The node whose whole path must be in the cache first.
        node: The growing node below `fork` for the request's own tokens; None if it has none.
        usage: Where its work is counted.
        order: Position in the queue, by priority and age; the lowest number runs first, the highest is preempted
            first. Set by the scheduler.
        error: The error that stopped it, or None.
    """

    def __init__(self, fork: KVNode, node: KVNode | None, usage: Usage) -> None:
        """Make a request for which nothing has been computed yet."""
        self.fork = fork
        self.node = node
        self.usage = usage
        self.order = 0
        self.error: MarcotError | None = None

    @property
    def leaf(self) -> KVNode:
        """The end of the request's path."""
        return self.node if self.node is not None else self.fork

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether the path down to `fork` is cached, and the state that the request needs at its end is known."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the work is done, or has been stopped."""

    def branch_at(self, leaf: KVNode) -> Branch | None:
        """This request, if it is a `Branch` and `leaf` is the node that it appends to; else None."""
        return None

    def scoring_at(self, leaf: KVNode) -> Scoring | None:
        """This request, if it is a `Scoring` and `leaf` is the node that it scores; else None."""
        return None

    def outputs(self, leaf: KVNode, first: int, rows: int) -> int:
        """How many hidden states are needed of the `rows` rows from token `first` of `leaf` on: of the last ones."""
        return int(first + rows == len(leaf.tokens))

    def take_over(self) -> bool:
        """Return whether the node stays in the tree after the request has ended. If so, the request records that."""
        return False


class Prefill(Request):
    """Computes K and V of a node's whole path, and the hidden state of its last token."""

    def __init__(self, node: KVNode, usage: Usage) -> None:
        """Prefill down to the end of `node`."""
        super().__init__(node, None, usage)
        self._was_ready = False

    @property
    def ready(self) -> bool:
        """Whether the path is cached and its next-token distribution is known."""
        known = self.fork.hidden is not None or self.fork.distribution is not None
        return known and self.fork.computed == len(self.fork.tokens)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to compute. Once true, it stays true, even if the pages are evicted again."""
        self._was_ready = self._was_ready or self.ready
        return self.error is not None or self._was_ready
