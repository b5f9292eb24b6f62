"""Expansions while their branches run."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernels import MarcotError
from ..model import Tokenizer
from .branch import Branch
from .errors import InputError
from .expansion import Expansion
from .kv_tree import KVTree
from .node import Node
from .scheduler import Scheduler
from .usage import Usage


class Expanding:
    """The branches of a list of expansions, from their submission to the nodes that they become.

    Attributes:
        branches: One list per expansion, in sample order.
    """

    def __init__(self, scheduler: Scheduler, expansions: Iterable[Expansion], usage: Usage) -> None:
        """Submit every sample of `expansions`; none is left behind if one of them is refused.

        Raises:
            InputError: An expansion asks for less than one sample.
            MarcotError: What `Scheduler.expand` refuses.
        """
        self.branches: list[list[Branch]] = []
        self._scheduler = scheduler
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
        """Throw every branch that still runs away."""
        self._scheduler.cancel(self._all())

    def nodes(self, tree: KVTree, tokenizer: Tokenizer | None) -> list[list[Node]]:
        """Public nodes of the finished branches; those that were cancelled before their first token are left out."""
        return [
            [Node(tree, branch.node, branch.completion(), tokenizer) for branch in samples if branch.node.tokens]
            for samples in self.branches
        ]

    def _all(self) -> list[Branch]:
        return [branch for samples in self.branches for branch in samples]
