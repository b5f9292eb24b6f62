"""Beam search."""

from __future__ import annotations

from .story import State, Story


def beam(story: Story, beams: int, samples: int) -> None:
    while not story.told:
        level(story, [story.root] * beams, beams, samples)


def level(story: Story, states: list[State], beams: int, samples: int) -> None:
    """Continue each of `states` by `samples` actions, and go on with the best `beams` of the new states."""
    if not states or story.told:
        return
    ranked: list[State] = []
    for state in story.step([state for state in states for _ in range(samples)]):
        if state and state not in ranked:
            at = sum(other.confidence >= state.confidence for other in ranked)
            ranked.insert(at, state)
    level(story, [state for state in ranked[:beams] if not state.over], beams, samples)
