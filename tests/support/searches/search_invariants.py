"""What must hold after any search with any strategy."""

from __future__ import annotations

from typing import Any

import pytest
from marcot.engine.search import SearchResult
from support.searches.toy_world import ToyWorld

SMALL: dict[str, dict[str, Any]] = {
    "beam": {"beams": 2, "samples": 3},
    "dvts": {"subtrees": 2, "samples": 2},
    "rebase": {"samples": 5},
}
"""Options that keep level-by-level strategies small, by name."""


def check(world: ToyWorld, result: SearchResult) -> None:
    """Check what must hold after any search: all nodes are released, and tree and rollouts agree."""
    assert all(node.released for node in world.nodes[1:])
    assert not world.nodes[0].released, "the prompt is the engine's"
    assert result.tree[0].parent is None
    for id, node in enumerate(result.tree):
        assert node.id == id
        below = [child for child in result.tree if child.parent == id]
        ending = [rollout for rollout in result.rollouts if rollout.leaf == id]
        assert node.visits == sum(child.visits for child in below) + len(ending)
        assert node.visits or not ending
        assert node.parent is None or node.parent < id
        if node.visits:
            rewards = sum(child.visits * (child.value or 0) for child in below if child.visits)
            assert node.value is not None
            assert node.visits * node.value == pytest.approx(rewards + sum(rollout.value for rollout in ending))
        assert len(node.token_ids) == len(node.confidences) == node.tokens
    before = 0
    for rollout in result.rollouts:
        assert "".join(result.tree[id].text for id in way(result, rollout.leaf)) == rollout.text
        assert 0.0 <= rollout.value <= 1.0
        assert before <= rollout.spent <= world.generated
        before = rollout.spent
    assert 0.0 <= result.confidence <= 1.0
    assert list(result.best_path) == way(result, result.best_path[-1])


def way(result: SearchResult, leaf: int | None) -> list[int]:
    ids: list[int] = []
    while leaf is not None:
        ids.append(leaf)
        leaf = result.tree[leaf].parent
    return ids[::-1]
