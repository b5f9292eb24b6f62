"""What the scheduler runs: the base class of `Branch`, `Prefill` and `Scoring`."""

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
        node: The growing node below `fork` that the request's own tokens go to; None if it adds none.
        usage: Where its work is counted.
        order: Priority and age; the lowest and youngest request is preempted first. Set by the scheduler.
        error: What stopped it, or None.
    """

    def __init__(self, fork: KVNode, node: KVNode | None, usage: Usage) -> None:
        """Start with all work still to do."""
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
        """Whether the path down to `fork` is cached, with everything that the request needs of it."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the work is done, or has been stopped."""

    def branch_at(self, leaf: KVNode) -> Branch | None:
        """The branch that draws what follows `leaf`: this one, if it is one and `leaf` is its node."""
        return None

    def scoring_at(self, leaf: KVNode) -> Scoring | None:
        """The scoring that rates the tokens of `leaf`: this one, if it is one and `leaf` is its node."""
        return None

    def outputs(self, leaf: KVNode, first: int, rows: int) -> int:
        """How many of `rows` rows from token `first` of `leaf` on, counted from the last, leave a hidden state."""
        return int(first + rows == len(leaf.tokens))

    def take_over(self) -> bool:
        """Whether its node is to stay in the tree although it has ended, which it then takes note of."""
        return False


class Prefill(Request):
    """Computes a node's path, and the hidden state of its last token, into the cache."""

    def __init__(self, node: KVNode, usage: Usage) -> None:
        """Prefill down to the end of `node`."""
        super().__init__(node, None, usage)

    @property
    def ready(self) -> bool:
        """Whether the path is cached and its next-token distribution is known."""
        known = self.fork.hidden is not None or self.fork.distribution is not None
        return known and self.fork.computed == len(self.fork.tokens)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to compute."""
        return self.error is not None or self.ready
