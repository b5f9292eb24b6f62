"""Trials and series, made by hand or by searches of a toy world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from marcot.engine.evaluation import Series, Trial
from marcot.engine.search import Rollout, SearchResult, SearchStats, Strategy
from support.searches.toy_world import ToyWorld, hashed_draw


def searched(strategy: Strategy, draw: Any = None) -> SearchResult:
    """The result of a search of a toy world, with its cost."""
    world = ToyWorld(draw or hashed_draw(eos_odds=0.15))
    result = world.run(strategy)
    return replace(result, stats=SearchStats(world.generated, 0, 0, 0, 0, 0, 1.0, 1.0, 1))


def trial(index: int, answers: Sequence[str], reference: str = "1", spent: Sequence[int] | None = None) -> Trial:
    """A search whose chains are children of the root with equal values; its answer is the first chain's."""
    costs = spent or [10 * (place + 1) for place in range(len(answers))]
    rollouts = tuple(
        Rollout("", 0.5, answer, 10, "eos", leaf, cost)
        for leaf, (answer, cost) in enumerate(zip(answers, costs, strict=True), 1)
    )
    parents = (None, *[0] * len(answers))
    return Trial(index, f"toy:{index + 1}:00", reference, answers[0], 0.5, 1.0, costs[-1], 2.0, rollouts, parents)


def series(label: str, trials: Sequence[Trial], **settings: Any) -> Series:
    basis = {"data": "toy", "model": "m", "answer_rule": "majority", "strategy": label}
    return Series(label, basis | settings, {each.question: each for each in trials})
