"""Expansions while their branches run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..kernels import MarcotError
from .branch import Branch
from .errors import InputError
from .expansion import Expansion
from .kv_tree import KVTree
from .node import Node
from .scheduler import Scheduler
from .token_codec import TokenCodec
from .usage import Usage


class Expanding:
    """The branches of a list of expansions, from their submission to the nodes that they become.

    Attributes:
        branches: One list per expansion, in sample order; empty once they are nodes, or cancelled.
    """

    def __init__(self, scheduler: Scheduler, tree: KVTree, expansions: Iterable[Expansion], usage: Usage) -> None:
        """Submit every sample of `expansions`; none is left behind if one of them is refused.

        Raises:
            InputError: An expansion asks for less than one sample.
            MarcotError: What `Scheduler.expand` refuses.
        """
        self.branches: list[list[Branch]] = []
        self._scheduler = scheduler
        self._tree = tree
        try:
            for node, n, sampling, first in expansions:
                if n < 1:
                    raise InputError(f"n={n}: an expansion needs at least one sample")
                samples: list[Branch] = []
                self.branches.append(samples)
                for sample in range(first, first + n):
                    samples.append(scheduler.expand(node.kv, sampling, sample, usage))
        except BaseException:
            self.cancel()
            raise

    @property
    def finished(self) -> bool:
        """Whether every branch is over."""
        return all(branch.finished for branch in self._all())

    @property
    def error(self) -> MarcotError | None:
        """The first error of a branch, if any."""
        return next((branch.error for branch in self._all() if branch.error is not None), None)

    def cut(self) -> None:
        """End every branch that still runs as "cancelled", with the tokens it has."""
        self._scheduler.cancel(self._all(), keep_tokens=True)

    def cancel(self) -> None:
        """Throw every branch away that has not become a node."""
        self._scheduler.cancel(self._all())
        self._let_go()

    def nodes(self, codec: TokenCodec) -> list[list[Node]]:
        """Turn the finished branches into public nodes; one that was cut before its first token stands at its fork."""
        nodes = [
            [
                Node(self._tree, branch.node if branch.kept else branch.fork, branch.completion(), codec)
                for branch in samples
            ]
            for samples in self.branches
        ]
        self._let_go()
        return nodes

    def _let_go(self) -> None:
        for branch in self._all():
            if branch.kept:
                self._tree.release(branch.node)
        self.branches = []

    def _all(self) -> Iterator[Branch]:
        return (branch for samples in self.branches for branch in samples)
