"""What the scheduler can be asked to run."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ...kernels import MarcotError
from ..kv.node import KVNode
from ..usage import Usage


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
        """Whether the path down to `fork`, and what is needed of it, is there."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether all work is done, or none will be."""


class Prefill(Request):
    """Bring a node's path, and the hidden state of its last token, into the cache."""

    def __init__(self, node: KVNode, usage: Usage) -> None:
        """Prefill down to the end of `node`."""
        super().__init__(node, None, usage)

    @property
    def ready(self) -> bool:
        """Whether the path is cached and what follows it is known."""
        known = self.fork.hidden is not None or self.fork.distribution is not None
        return known and self.fork.computed == len(self.fork.tokens)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to compute."""
        return self.error is not None or self.ready
