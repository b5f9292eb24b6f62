"""Random histories of a KV tree, in steps like a scheduler's."""

from __future__ import annotations

from operator import attrgetter
from random import Random

from marcot.engine.kv.node import KVNode
from marcot.engine.kv.tree import KVTree
from marcot.engine.plan.planner import Reader
from marcot.engine.scheduler.request import Prefill, Request
from marcot.engine.usage import Usage

VOCABULARY = 50_000
_START = attrgetter("start", "serial")


class Growing(Request):
    """A branch, as far as the planner needs it."""

    def __init__(self, node: KVNode) -> None:
        super().__init__(node.parent or node, node, Usage())

    @property
    def ready(self) -> bool:
        return True

    @property
    def finished(self) -> bool:
        return False


class ReadingHistory:
    """Branches that grow, fork and end, prompts computed in chunks, nodes that are split, evicted and read again.

    Attributes:
        tree: The KV tree.
        growing: The node of each running branch.
        frozen: Nodes that branches may start from.
        computing: Nodes whose tokens are being computed in chunks.
    """

    def __init__(self, seed: int, pages: int = 600) -> None:
        self.random = Random(seed)
        self.tree = KVTree(pages)
        self.growing: list[KVNode] = []
        self.frozen: list[KVNode] = []
        self.computing: list[KVNode] = []
        self.again: list[KVNode] = []

    def tokens(self, count: int) -> list[int]:
        return [self.random.randrange(VOCABULARY) for _ in range(count)]

    def prompt(self, length: int, below: KVNode | None = None) -> bool:
        """Insert a prompt to be computed; False if it does not fit."""
        node = self.tree.insert(below or self.tree.root, self.tokens(length))
        return self._compute(node)

    def _compute(self, node: KVNode) -> bool:
        self.tree.pin(node)
        if all(self.tree.reserve(part, len(part.tokens)) for part in node.path()):
            self.computing.append(node)
            return True
        self.tree.unpin(node)
        return False

    def fork(self, node: KVNode) -> bool:
        """Start a branch below a cached node; False if it does not fit."""
        branch = self.tree.fork(node)
        self.tree.pin(branch)
        if self.tree.reserve(branch, 1):
            branch.tokens.extend(self.tokens(1))
            self.growing.append(branch)
            return True
        self.tree.unpin(branch)
        self.tree.discard(branch)
        return False

    def end(self, branch: KVNode, *, keep: bool) -> None:
        """End a branch. With `keep` it is frozen, and its last token is still to be computed."""
        self.growing.remove(branch)
        self.tree.unpin(branch)
        if keep:
            self.tree.freeze(branch)
            self.tree.hold(branch)
            self.frozen.append(branch)
        else:
            self.tree.discard(branch)

    def stop(self, branch: KVNode) -> None:
        """Take away a branch's pages; its tokens are recomputed when it goes on."""
        self.growing.remove(branch)
        self.tree.unpin(branch)
        self.tree.drop(branch)
        self.tree.pin(branch)
        if self.tree.reserve(branch, len(branch.tokens)):
            self.growing.append(branch)
        else:
            self.tree.unpin(branch)
            self.tree.discard(branch)

    def split(self) -> None:
        """Cut a frozen node in two."""
        node = self.random.choice(self.frozen)
        if len(node.tokens) > 1:
            self.frozen.append(self.tree.ancestor_at(node, node.start + self.random.randrange(1, len(node.tokens))))

    def readers(self, room: int = 1) -> list[Reader]:
        """The readers of the next round. There are pages for their rows, and for some of the tokens of the round."""
        readers = []
        for branch in list(self.growing):
            if self.random.random() < 0.02:
                continue
            if not self.tree.reserve(branch, len(branch.tokens)):
                self.end(branch, keep=False)
                continue
            rows = len(branch.tokens) - branch.computed
            self.tree.reserve(branch, len(branch.tokens) + self.random.randrange(room))
            readers.append(Reader(Growing(branch), branch, branch.computed, rows))
        for node in sorted({part for end in self.computing for part in _uncomputed(end)}, key=_START):
            left = len(node.tokens) - node.computed
            behind = {reader.leaf: reader.rows for reader in readers}
            above = node.parent
            if above is not None and above.computed + behind.get(above, 0) < len(above.tokens):
                continue
            if left and (above is None or above not in behind or self.random.random() < 0.8):
                rows = min(left, self.random.choice([1, 7, 40, 200]))
                readers.append(Reader(Prefill(node, Usage()), node, node.computed, rows))
            elif not left:
                readers.append(Reader(Prefill(node, Usage()), node, len(node.tokens) - 1, 1, writes=False))
        return readers

    def computed(self, readers: list[Reader]) -> None:
        """Finish a step: every branch whose last token was computed draws the next one."""
        for _, leaf, _, rows, writes in readers:
            leaf.computed += rows * writes
            leaf.ever_computed = max(leaf.ever_computed, leaf.computed)
        for branch in self.growing:
            if branch.computed == len(branch.tokens):
                branch.tokens.extend(self.tokens(1))
        for node in [node for node in self.computing if node.computed == len(node.tokens)]:
            if self.random.random() < 0.8:
                self.computing.remove(node)
                self.tree.hold(node)
                self.frozen.append(node)
                self.tree.unpin(node)

    def event(self) -> None:
        """Change something at random between two steps."""
        dice = self.random.random()
        ready = [node for node in self.frozen if all(part.computed == len(part.tokens) for part in node.path())]
        if dice < 0.15:
            below = self.random.choice([None, *self.frozen])
            for _ in range(self.random.choice([0, 0, 3])):
                below = self.tree.insert(below or self.tree.root, self.tokens(self.random.choice([1, 1, 20])))
            self.prompt(self.random.choice([1, 5, 40, 300]), below)
        elif dice < 0.6 and ready:
            node = self.random.choice(ready)
            for _ in range(self.random.choice([1, 1, 2, 3, 5])):
                self.fork(node)
        elif dice < 0.75 and self.growing:
            self.end(self.random.choice(self.growing), keep=self.random.random() < 0.7)
        elif dice < 0.8 and self.growing:
            self.stop(self.random.choice(self.growing))
        elif dice < 0.9 and self.frozen:
            self.split()
        elif self.frozen:
            self._compute(self.random.choice(self.frozen))


def _uncomputed(node: KVNode) -> list[KVNode]:
    nodes = [node]
    while nodes[-1].parent is not None and nodes[-1].parent.computed < len(nodes[-1].parent.tokens):
        nodes.append(nodes[-1].parent)
    return nodes
