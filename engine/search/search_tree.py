"""The tree of a Monte Carlo search: states, their statistics, and the walk down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce

from .piece import Piece
from .result import TreeNode
from .uct import uct


@dataclass(slots=True, eq=False)
class SearchNode:
    """A reasoning state with what its rollouts have shown.

    Attributes:
        id: Position in `SearchTree.nodes`.
        parent: None for the root.
        piece: What the node adds to its parent.
        depth: Nodes between here and the root, this one included.
        drawn: Drawn tokens from the prompt to here.
        confidence: Sum of their confidences.
        terminal: A chain ends here; there is nothing to continue.
        children: In the order in which they were found.
        visits: Rollouts that went through here.
        total: Sum of their rewards.
        pending: Rollouts in flight through here: visits whose reward counts as 0 until it is known (virtual loss).
        closed: Terminal, or as wide as allowed with nothing but closed children: nothing new is to be found below.
    """

    id: int
    parent: SearchNode | None
    piece: Piece
    depth: int = 0
    drawn: int = 0
    confidence: float = 0.0
    terminal: bool = False
    children: list[SearchNode] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    pending: int = 0
    closed: bool = False

    @property
    def chain(self) -> Iterator[SearchNode]:
        """This node and all above it, up to the root."""
        node: SearchNode | None = self
        while node is not None:
            yield node
            node = node.parent


class SearchTree:
    """A trie of rollouts. Each non-terminal node has as many visits as all its children together.

    A node's first `width` visits each sample a new continuation of it; from then on UCT picks one of its children.
    That is expansion into `width` unvisited children, except that a child is sampled when its turn to be visited
    comes and not before. Continuations that begin with the same piece share a child, so there can be fewer.
    """

    def __init__(self, root: Piece, *, width: int, exploration: float, max_depth: int) -> None:
        """Start with the prompt.

        Args:
            root: The prompt's state.
            width: Continuations sampled from a node before UCT chooses among them.
            exploration: UCT's C.
            max_depth: Nodes between the root and a leaf, leaf included; deeper pieces are joined into that leaf.
        """
        self.root = SearchNode(0, None, root)
        self.nodes = [self.root]
        self._width = width
        self._exploration = exploration
        self._max_depth = max_depth

    def select(self) -> SearchNode | None:
        """Walk down to the state that the next rollout starts from, and count the visit as pending on the way.

        A chain is never walked to its end twice. When everything is closed, the root is continued beyond its width.
        Returns None if the way ends at a node that has nothing to offer until rollouts in flight have come back;
        that cannot happen while none is in flight.
        """
        node = self.root
        while node.visits + node.pending >= self._width and not self.root.closed:
            parent_visits = node.visits + node.pending
            open_children = [child for child in node.children if not child.closed]
            if not open_children:
                return None
            node = max(
                open_children,
                key=lambda child: uct(child.total, child.visits + child.pending, parent_visits, self._exploration),
            )
        for passed in node.chain:
            passed.pending += 1
        return node

    def settle(self, fork: SearchNode) -> None:
        """A rollout from `fork` is no longer in flight."""
        for passed in fork.chain:
            passed.pending -= 1

    def insert(self, fork: SearchNode, pieces: Sequence[Piece], max_new: int) -> SearchNode:
        """Add a rollout from `fork` and return its leaf.

        Args:
            fork: Where the rollout started.
            pieces: What it wrote; if it wrote nothing, its leaf is `fork`.
            max_new: Nodes that may be added, at least 1; what does not fit is joined into the leaf.
        """
        node = fork
        for position, piece in enumerate(pieces):
            last = position == len(pieces) - 1 or node.depth + 1 == self._max_depth
            child = None if last else _twin(node, piece, last)
            if child is None:
                last = last or max_new == 1
                added = reduce(Piece.joined, pieces[position:]) if last else piece
                child = _twin(node, added, last) or self._add(node, added, last)
                max_new -= 1
            node = child
            if last:
                break
        return node

    def backup(self, leaf: SearchNode, value: float) -> None:
        """Count a rollout of reward `value` for its leaf and all nodes above."""
        for node in leaf.chain:
            node.visits += 1
            node.total += value
            node.closed = node.terminal or (
                node.visits >= self._width and bool(node.children) and all(child.closed for child in node.children)
            )

    def export(self) -> tuple[TreeNode, ...]:
        """Return all nodes as they stand, parents before children."""
        return tuple(
            TreeNode(
                id=node.id,
                parent=None if node.parent is None else node.parent.id,
                text=node.piece.text,
                visits=node.visits,
                value=node.total / node.visits if node.visits else None,
                tokens=len(node.piece.token_ids),
            )
            for node in self.nodes
        )

    def _add(self, parent: SearchNode, piece: Piece, terminal: bool) -> SearchNode:
        node = SearchNode(
            len(self.nodes),
            parent,
            piece,
            parent.depth + 1,
            parent.drawn + piece.drawn,
            parent.confidence + piece.confidence,
            terminal,
        )
        parent.children.append(node)
        self.nodes.append(node)
        return node


def _twin(node: SearchNode, piece: Piece, terminal: bool) -> SearchNode | None:
    """The child that says the same as `piece`, if there is one."""
    return next(
        (child for child in node.children if child.piece.token_ids == piece.token_ids and child.terminal == terminal),
        None,
    )
