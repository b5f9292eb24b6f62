"""Search trees of extreme shapes."""

from __future__ import annotations

from marcot.engine.search import Rollout, SearchResult, TreeNode


def deep_tree(depth: int, *, branches: bool = True) -> SearchResult:
    """A chain of `depth` nodes below the root. Each but the last has two visits, and a sibling if it `branches`."""
    nodes = [TreeNode(0, None, "", 2, 0.5, 1, token_ids=(1,), confidences=(None,), token_ends=(0,))]
    path = [0]
    for level in range(depth):
        for text in (f"step {level} ", f"other {level} ")[: 1 + branches]:
            node = TreeNode(len(nodes), path[-1], text, 2, 0.5, 1, "step", (2,), (0.5,), (len(text),))
            nodes.append(node)
        path.append(len(nodes) - 1 - branches)
    rollout = Rollout("a text", 0.5, "42", depth, "eos", path[-1], depth)
    return SearchResult("Q?", "42", "a text", 0.5, 1.0, (rollout,), tuple(nodes), tuple(path))


def wide_tree(width: int) -> SearchResult:
    """A root with `width` leaves, each the end of a rollout."""
    leaves = [TreeNode(id, 0, "a", 1, 0.5, 1, "step", (2,), (0.5,), (1,)) for id in range(1, width + 1)]
    root = TreeNode(0, None, "", width, 0.5, 1, token_ids=(1,), confidences=(None,), token_ends=(0,))
    rollouts = tuple(Rollout("a", 0.5, f"{leaf.id % 7}", 1, "eos", leaf.id, leaf.id) for leaf in leaves)
    return SearchResult("Q?", "1", "a", 0.5, 1.0, rollouts, (root, *leaves), (0, 1))
