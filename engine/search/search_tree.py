"""The tree of a running search, whose nodes have visits and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce

from ..text.brief import brief
from .result import TreeNode
from .rollout.node_content import NodeContent


@dataclass(slots=True, eq=False)
class SearchNode:
    """A node of the search tree, with the visits and values of its rollouts.

    Attributes:
        id: Position in `SearchTree.nodes`.
        parent: None for the root.
        content: What the node adds to its parent.
        depth: Number of nodes below the root on the path to this one, including it; 0 for the root.
        drawn: Drawn tokens from the prompt to the end of this node.
        terminal: Whether a chain ends here, so that it cannot be continued.
        children: In the order in which they were added.
        open_children: How many of them are not exhausted.
        visits: Finished rollouts that went through this node.
        total: Sum of their values.
        rating: Value of the chain that ends here, if `SearchRun.extend` rated it; else None.
        pending: Rollouts in flight through this node: they count as visits of value 0 (virtual loss).
        exhausted: Whether no new continuation can be found from this node or any node below it.
    """

    id: int
    parent: SearchNode | None
    content: NodeContent
    depth: int = 0
    drawn: int = 0
    terminal: bool = False
    children: list[SearchNode] = field(default_factory=list)
    open_children: int = 0
    visits: int = 0
    total: float = 0.0
    rating: float | None = None
    pending: int = 0
    exhausted: bool = False

    def __repr__(self) -> str:
        return f"SearchNode(id={self.id}, text={brief(self.content.text)}, depth={self.depth}, visits={self.visits})"

    def set_exhausted(self, exhausted: bool) -> None:
        """Set `exhausted`, and count the node among the open children of its parent if it is not."""
        if self.parent is not None:
            self.parent.open_children += self.exhausted - exhausted
        self.exhausted = exhausted

    @property
    def chain(self) -> Iterator[SearchNode]:
        """This node and all nodes above it, up to the root."""
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
        return [node.content.kind for node in self.path[1:]]

    @property
    def text(self) -> str:
        """The text from the prompt to here."""
        return "".join(node.content.text for node in self.path)


class SearchTree:
    """A trie of rollouts: rollouts that begin with the same actions share nodes.

    A non-terminal node has as many visits as all its children together, plus the rollouts that were cut there.
    """

    def __init__(self, root: NodeContent, max_depth: int) -> None:
        """Make a tree with only a root.

        Args:
            root: Content of the root: the state after the prompt.
            max_depth: Maximum depth of a node; content of deeper nodes is joined into the node at this depth.
        """
        self.root = SearchNode(0, None, root)
        self.nodes = [self.root]
        self._places: dict[tuple[int, bool, tuple[int, ...]], SearchNode] = {}
        self._max_depth = max_depth

    def insert(self, fork: SearchNode, contents: Sequence[NodeContent], max_new: int, ended: bool = True) -> SearchNode:
        """Add nodes after `fork` and return the last one.

        Args:
            fork: The node to start from.
            contents: The contents of the nodes; if empty, the result is `fork`.
            max_new: Maximum number of nodes to add, at least 1; the rest of the content is joined into the last one.
            ended: Whether the chain is finished. At the maximum depth it always is.
        """
        node = fork
        for position, content in enumerate(contents):
            full = node.depth + 1 == self._max_depth
            is_last = position == len(contents) - 1 or full
            terminal = is_last and (ended or full)
            child = None if terminal else self._twin(node, content, False)
            if child is None:
                is_last = is_last or max_new == 1
                terminal = is_last and (ended or full)
                added = reduce(NodeContent.joined, contents[position:]) if is_last else content
                child = self._twin(node, added, terminal) or self._add(node, added, terminal)
                max_new -= 1
            node = child
            if is_last:
                break
        return node

    def backup(self, leaf: SearchNode, value: float) -> None:
        """Count a rollout of `value` for its leaf and all nodes above it."""
        for node in leaf.chain:
            node.visits += 1
            node.total += value

    def export(self) -> tuple[TreeNode, ...]:
        """Return all nodes in their present state, parents before children."""
        return tuple(
            TreeNode(
                id=node.id,
                parent=None if node.parent is None else node.parent.id,
                text=node.content.text,
                visits=node.visits,
                value=node.total / node.visits if node.visits else node.rating,
                tokens=len(node.content.token_ids),
                kind=node.content.kind,
                token_ids=node.content.token_ids,
                confidences=node.content.confidences,
            )
            for node in self.nodes
        )

    def clear(self) -> None:
        """Remove all nodes, and their links, whose cycles would keep them until the garbage collector finds them."""
        for node in self.nodes:
            node.parent = None
            node.children.clear()
        self.nodes.clear()
        self._places.clear()

    def _add(self, parent: SearchNode, content: NodeContent, terminal: bool) -> SearchNode:
        node = SearchNode(
            len(self.nodes),
            parent,
            content,
            parent.depth + 1,
            parent.drawn + content.drawn,
            terminal,
            exhausted=terminal,
        )
        parent.children.append(node)
        parent.open_children += not terminal
        self.nodes.append(node)
        self._places[parent.id, terminal, content.token_ids] = node
        return node

    def _twin(self, node: SearchNode, content: NodeContent, terminal: bool) -> SearchNode | None:
        """The child of `node` with the same tokens and the same `terminal`, if there is one."""
        return self._places.get((node.id, terminal, content.token_ids))
