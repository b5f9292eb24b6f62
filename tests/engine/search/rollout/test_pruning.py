"""Which chains are given up early."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.search import MCTS, BestOfN
from marcot.engine.search.rollout.pruning import Pruning
from support.searches.toy_world import EOS, ToyWorld

WINDOW = Pruning.window


def quantile(numbers: list[float], share: float) -> float:
    """Quantile with linear interpolation."""
    place = share * (len(numbers) - 1)
    low, high = sorted(numbers)[math.floor(place)], sorted(numbers)[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


@given(lengths=st.lists(st.integers(1, 200), max_size=9), tokens=st.integers(0, 150), share=st.floats(0, 0.99),
       seed=st.integers(0, 2**32 - 1))  # fmt: skip
@settings(deadline=None)
def test_a_chain_is_hopeless_below_the_worst_of_the_others(
    lengths: list[int], tokens: int, share: float, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    pruning = Pruning(share)
    worst = []
    for length in lengths:
        finished = dice.random(length).astype(np.float32) * np.float32(dice.random())
        pruning.observe(finished)
        windows = [finished[first : first + WINDOW].tolist() for first in range(length - WINDOW + 1)]
        worst += [min(math.fsum(window) / WINDOW for window in windows)] if windows else []
    chain = dice.random(tokens).astype(np.float32) * np.float32(0.5)
    known = share > 0 and len(worst) >= 4
    assert pruning.active == known
    expected = known and tokens >= WINDOW and math.fsum(chain[-WINDOW:].tolist()) / WINDOW < quantile(worst, share)
    assert pruning.should_prune(chain) == expected


def unsure_from(chain: int) -> ToyWorld:
    """Chains of 200 tokens. From this one on, their confidence drops after 70 tokens."""

    def draw(path: list[int], sample: int, position: int) -> tuple[int, float]:
        at = len(path) - len("six plus two?") + position
        lost = sample >= chain if at == position else path[13] == 2
        token = EOS if at == 199 else 2 if lost else 1
        return token, 0.1 if lost and at >= 70 else 0.9

    return ToyWorld(draw)


@pytest.mark.parametrize("prune", [0.0, 0.5])
def test_a_chain_that_loses_its_way_is_given_up(prune: float) -> None:
    world = unsure_from(4)
    strategy = BestOfN(rollouts=8, parallel=1, prune=prune, max_rollout_tokens=300, answer_rule="majority")
    result = world.run(strategy)
    reasons = [rollout.finish_reason for rollout in result.rollouts]
    assert reasons == ["eos"] * 4 + ["pruned" if prune else "eos"] * 4
    assert {rollout.tokens for rollout in result.rollouts[4:]} == ({2 * WINDOW} if prune else {200})
    assert world.generated == sum(rollout.tokens for rollout in result.rollouts)
    assert all(node.released for node in world.nodes[1:])
    if prune:
        assert result.text == result.rollouts[0].text, "a chain that was given up has no vote"


def test_nothing_is_given_up_before_four_chains_have_ended() -> None:
    result = unsure_from(3).run(MCTS(rollouts=6, width=6, parallel=1, prune=0.9, max_rollout_tokens=300))
    assert {rollout.finish_reason for rollout in result.rollouts[:4]} == {"eos"}
