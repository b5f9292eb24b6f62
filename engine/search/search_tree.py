"""The tree of a search: states and what their rollouts have shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce

from ..brief import brief
from .piece import Piece
from .result import TreeNode


@dataclass(slots=True, eq=False)
class SearchNode:
    """A reasoning state with what its rollouts have shown.

    Attributes:
        id: Position in `SearchTree.nodes`.
        parent: None for the root.
        piece: What the node adds to its parent.
        depth: Nodes between here and the root, this one included.
        drawn: Drawn tokens from the prompt to here.
        terminal: A chain ends here; there is nothing to continue.
        children: In the order in which they were found.
        visits: Rollouts that went through here.
        total: Sum of their values.
        rating: Value of the unfinished chain that ends here; None where nobody asked.
        pending: Rollouts in flight through here: visits whose value counts as 0 until it is known (virtual loss).
        closed: Nothing new is to be found here or below.
    """

    id: int
    parent: SearchNode | None
    piece: Piece
    depth: int = 0
    drawn: int = 0
    terminal: bool = False
    children: list[SearchNode] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    rating: float | None = None
    pending: int = 0
    closed: bool = False

    def __repr__(self) -> str:
        return f"SearchNode(id={self.id}, text={brief(self.piece.text)}, depth={self.depth}, visits={self.visits})"

    @property
    def chain(self) -> Iterator[SearchNode]:
        """This node and all above it, up to the root."""
        node: SearchNode | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def path(self) -> list[SearchNode]:
        """All nodes from the root to this one."""
        return list(self.chain)[::-1]

    @property
    def kinds(self) -> list[str]:
        """Kinds of the actions from the prompt to here."""
        return [node.piece.kind for node in self.path[1:]]

    @property
    def text(self) -> str:
        """What was written from the prompt to here."""
        return "".join(node.piece.text for node in self.path)


class SearchTree:
    """A trie of rollouts: chains that begin with the same pieces share nodes.

    A non-terminal node has as many visits as all its children together, and those that were abandoned there.
    """

    def __init__(self, root: Piece, max_depth: int) -> None:
        """Start with the prompt.

        Args:
            root: The prompt's state.
            max_depth: Nodes between the root and a leaf, leaf included; deeper pieces are joined into that leaf.
        """
        self.root = SearchNode(0, None, root)
        self.nodes = [self.root]
        self._max_depth = max_depth

    def insert(self, fork: SearchNode, pieces: Sequence[Piece], max_new: int, ended: bool = True) -> SearchNode:
        """Add what was written after `fork` and return the node at its end.

        Args:
            fork: Where it starts.
            pieces: What was written; if nothing was, the end is `fork`.
            max_new: Nodes that may be added, at least 1; what does not fit is joined into the last one.
            ended: Whether the chain is finished. At the greatest depth it is in any case.
        """
        node = fork
        for position, piece in enumerate(pieces):
            full = node.depth + 1 == self._max_depth
            is_last = position == len(pieces) - 1 or full
            terminal = is_last and (ended or full)
            child = None if terminal else _twin(node, piece, False)
            if child is None:
                is_last = is_last or max_new == 1
                terminal = is_last and (ended or full)
                added = reduce(Piece.joined, pieces[position:]) if is_last else piece
                child = _twin(node, added, terminal) or self._add(node, added, terminal)
                max_new -= 1
            node = child
            if is_last:
                break
        return node

    def backup(self, leaf: SearchNode, value: float) -> None:
        """Count a rollout of `value` for its leaf and all nodes above."""
        for node in leaf.chain:
            node.visits += 1
            node.total += value

    def export(self) -> tuple[TreeNode, ...]:
        """Return all nodes as they stand, parents before children."""
        return tuple(
            TreeNode(
                id=node.id,
                parent=None if node.parent is None else node.parent.id,
                text=node.piece.text,
                visits=node.visits,
                value=node.total / node.visits if node.visits else node.rating,
                tokens=len(node.piece.token_ids),
                kind=node.piece.kind,
                token_ids=node.piece.token_ids,
                confidences=node.piece.confidences,
            )
            for node in self.nodes
        )

    def _add(self, parent: SearchNode, piece: Piece, terminal: bool) -> SearchNode:
        node = SearchNode(
            len(self.nodes), parent, piece, parent.depth + 1, parent.drawn + piece.drawn, terminal, closed=terminal
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
