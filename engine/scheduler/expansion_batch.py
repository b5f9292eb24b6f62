"""The branches of one call of `expand`, or of one wave of a search, while they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...kernels import MarcotError
from ..checking import check_branches, check_count, check_integer, refuse_class, shown
from ..errors import InputError
from ..expansion import Expansion
from ..kv.tree import KVTree
from ..node import Node
from ..sampling.sampling import Sampling
from ..text.token_codec import TokenCodec
from ..usage import Usage
from .branch import Branch
from .scheduler import Scheduler


class ExpansionBatch:
    """The branches of a list of expansions, from their submission until they become nodes.

    Attributes:
        branches: One list per expansion, in sample order; empty after `nodes`, `nodes_of` or `cancel`.
    """

    def __init__(
        self, scheduler: Scheduler, tree: KVTree, expansions: Iterable[Expansion], usage: Usage, priority: int = 0
    ) -> None:
        """Submit every sample of `expansions` with `priority`. If one is refused, all of them are cancelled.

        Raises:
            InputError: An expansion asks for less than one sample, or its node is not a node of this tree.
            MarcotError: An error of `Scheduler.expand`.
        """
        priority = check_integer("priority", priority, "an integer")
        self.branches: list[list[Branch]] = []
        self._scheduler = scheduler
        self._tree = tree
        self._unfinished: list[Branch] = []
        try:
            total = 0
            for expansion in expansions:
                node, n, sampling, first = _checked(expansion, tree)
                total = check_branches("n" if not total else "n of all expansions", total + n)
                is_over = node.finish_reason == "eos" and not sampling.ignore_eos
                samples: list[Branch] = []
                self.branches.append(samples)
                for sample in range(first, first + n):
                    samples.append(scheduler.expand(node.kv, sampling, sample, usage, priority, is_over=is_over))
            self._unfinished.extend(self._all())
        except BaseException:
            self.cancel()
            raise

    @property
    def finished(self) -> bool:
        """Whether every branch has ended."""
        while self._unfinished and self._unfinished[-1].finished:
            self._unfinished.pop()
        return not self._unfinished

    @property
    def error(self) -> MarcotError | None:
        """The first error of a branch, if any."""
        return next((branch.error for branch in self._all() if branch.error is not None), None)

    def cut(self) -> None:
        """End every running branch with finish reason "cancelled" and keep its tokens."""
        self._scheduler.cancel(self._all(), keep_tokens=True)

    def cancel(self) -> None:
        """Discard every branch that has not become a node."""
        self._scheduler.cancel(self._all())
        self._release_all()

    def nodes(self, codec: TokenCodec) -> list[list[Node]]:
        """Turn the finished branches into public nodes. A branch without tokens becomes a node at its fork."""
        nodes = [self._as_nodes(samples, codec) for samples in self.branches]
        self._release_all()
        return nodes

    def nodes_of(self, index: int, codec: TokenCodec) -> list[Node]:
        """Turn the finished branches of expansion number `index` into public nodes."""
        samples = self.branches[index]
        nodes = self._as_nodes(samples, codec)
        self._release(samples)
        self.branches[index] = []
        return nodes

    def _as_nodes(self, samples: list[Branch], codec: TokenCodec) -> list[Node]:
        return [
            Node(self._tree, branch.node if branch.kept else branch.fork, branch.completion(), codec)
            for branch in samples
        ]

    def _release_all(self) -> None:
        self._release(self._all())
        self.branches = []

    def _release(self, branches: Iterable[Branch]) -> None:
        for branch in branches:
            if branch.kept:
                self._tree.release(branch.node)

    def _all(self) -> Iterator[Branch]:
        return (branch for samples in self.branches for branch in samples)


def parse_expansions(asked: object, n: int, sampling: Sampling | None, first: int) -> tuple[list[Expansion], bool]:
    """Convert the arguments of `expand` to `Expansion`s; and whether it was one, not a list of them.

    Raises:
        InputError: An argument is invalid; see `parse_expansion`.
    """
    if isinstance(asked, Node | Expansion | str | Mapping) or not isinstance(asked, Iterable):
        return [parse_expansion(asked, n, sampling, first)], True
    return [parse_expansion(each, n, sampling, first) for each in asked], False


def parse_expansion(asked: object, n: int, sampling: Sampling | None, first: int) -> Expansion:
    """Convert the arguments of `expand` to an `Expansion`.

    Args:
        asked: An `Expansion`, a tuple of its fields, or a node; only a node is combined with the other arguments.
        n: Samples to draw.
        sampling: How to sample; `Sampling()` by default.
        first: Index of the first sample.

    Raises:
        InputError: `asked` is none of these; the message says what to write.
    """
    if isinstance(asked, Node):
        return Expansion(asked, n, Sampling() if sampling is None else sampling, first)
    if not (isinstance(asked, tuple) and 2 <= len(asked) <= 4 and isinstance(asked[0], Node)):
        raise InputError(f"cannot expand {asked!r:.100}: pass a Node, an Expansion(node, n, sampling), or a list")
    if (n, sampling, first) != (1, None, 0):
        raise InputError("an Expansion has its own n, sampling and first: set them there, not as arguments of expand")
    start, count, *rest = asked
    return Expansion(start, count, *(rest or [Sampling()]))


def _checked(expansion: object, tree: KVTree) -> Expansion:
    if not isinstance(expansion, Expansion):
        raise InputError(f"{expansion!r:.100} must be an Expansion")
    node, n, sampling, first = expansion
    if not isinstance(node, Node) or not node.is_of(tree):
        raise InputError(f"cannot expand {node!r:.100}: must be a Node of this engine")
    n = check_integer("n", n, "an integer >= 1")
    if n < 1:
        raise InputError(f"n={shown(n)}: an expansion needs at least one sample")
    first = check_count("first", first, "an integer >= 0", least=0)
    refuse_class("sampling", sampling, Sampling)
    if not isinstance(sampling, Sampling):
        raise InputError(f"sampling={sampling!r:.100}: must be a Sampling")
    return Expansion(node, n, sampling, first)
