"""In worlds whose best chain is known by enumeration, thorough strategies must find it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
from marcot.engine.search import STRATEGIES, SearchResult
from support.searches.toy_world import EOS, Draw, ToyWorld

BRANCHES, DEPTH, PROMPT = 3, 4, len("six plus two?")
SEEDS = range(10)
Chain = tuple[int, ...]


def trap(seed: int) -> dict[Chain, float]:
    """A random confidence for every state of a tree: the best state of a level need not lead to the best chain."""
    dice = random.Random(seed)
    chains = (chain for depth in range(1, DEPTH + 1) for chain in itertools.product(range(1, 4), repeat=depth))
    return {chain: dice.uniform(0.2, 1.0) for chain in chains}


def honest(seed: int) -> dict[Chain, float]:
    """The same, but the surest token always leads to the best chain."""
    dice = random.Random(seed)
    best = tuple(dice.randint(1, BRANCHES) for _ in range(DEPTH))
    return {
        chain: dice.uniform(0.8, 1.0) if chain == best[: len(chain)] else dice.uniform(0.1, 0.7) for chain in trap(seed)
    }


def best_chain(confidences: dict[Chain, float]) -> tuple[Chain, float]:
    """Find the best chain by enumeration. The final end-of-sequence token always has confidence 1."""
    values = {
        chain: (sum(confidences[chain[:end]] for end in range(1, DEPTH + 1)) + 1.0) / (DEPTH + 1)
        for chain in confidences
        if len(chain) == DEPTH
    }
    assert len(values) == BRANCHES**DEPTH
    best = max(values, key=lambda chain: values[chain])
    return best, values[best]


def systematic(confidences: dict[Chain, float]) -> Draw:
    """Sample `n` of a state begins with its `n`-th successor and continues with the last successors. No sample is
    greedy.
    """

    def draw(path: Sequence[int], sample: int, position: int) -> tuple[int, float]:
        fork = tuple(path[PROMPT:])
        first = () if len(fork) == DEPTH else (1 + sample % BRANCHES,)
        chain = (*fork, *first, *[BRANCHES] * DEPTH)[: min(DEPTH, len(fork) + position + 1)]
        return (EOS, 1.0) if len(fork) + position == DEPTH else (chain[-1], confidences[chain])

    return draw


def found(result: SearchResult) -> Chain:
    tokens = [token for id in result.best_path for token in result.tree[id].token_ids]
    assert tokens[-1] == EOS
    return tuple(tokens[:-1])


ALL = BRANCHES**DEPTH
THOROUGH: dict[str, dict[str, Any]] = {
    "mcts": {"width": BRANCHES, "rollouts": 3 * ALL, "parallel": 1, "greedy_first": False},
    "beam": {"beams": ALL, "samples": BRANCHES, "rollouts": 1},
    "rebase": {"samples": ALL, "balance": 1e6, "rollouts": 1},
}
GUIDED: dict[str, dict[str, Any]] = {
    "mcts": {"width": BRANCHES, "rollouts": 30, "exploration": 0.1, "parallel": 1, "greedy_first": False},
    "beam": {"beams": 1, "samples": BRANCHES, "rollouts": 1},
    "dvts": {"subtrees": 1, "samples": BRANCHES, "rollouts": 1},
    "rebase": {"samples": 3 * BRANCHES, "balance": 0.02, "rollouts": 1},
}


def run(name: str, confidences: dict[Chain, float], **options: Any) -> SearchResult:
    strategy = STRATEGIES[name](action="token", answer_rule="best-rollout", answer_from="text", **options)
    return ToyWorld(systematic(confidences)).run(strategy)


@pytest.mark.parametrize("name", THOROUGH)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_thorough_search_finds_the_best_of_all_chains(name: str, seed: int) -> None:
    confidences = trap(seed)
    chain, value = best_chain(confidences)
    result = run(name, confidences, **THOROUGH[name])
    assert found(result) == chain
    assert result.value == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("name", GUIDED)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_small_search_that_is_guided_well_finds_it_too(name: str, seed: int) -> None:
    confidences = honest(seed)
    result = run(name, confidences, **GUIDED[name])
    assert found(result) == best_chain(confidences)[0]
    assert len(result.rollouts) < ALL


def test_mcts_meets_every_chain_before_it_is_done() -> None:
    """Every last state is visited `width` times before it is exhausted, and then no state is left."""
    result = run("mcts", trap(1), **THOROUGH["mcts"])
    assert len({rollout.leaf for rollout in result.rollouts}) == ALL
    assert {node.visits for node in result.tree if node.token_ids == (EOS,)} == {BRANCHES}


def test_a_narrow_beam_falls_into_traps() -> None:
    """Shows that the worlds of the tests above are hard."""
    missed = sum(
        found(run("beam", trap(seed), beams=1, samples=3, rollouts=1)) != best_chain(trap(seed))[0] for seed in SEEDS
    )
    assert missed > len(SEEDS) // 4
