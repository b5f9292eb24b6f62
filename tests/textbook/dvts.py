"""Diverse verifier tree search."""

from __future__ import annotations

from .story import State, Story


def dvts(story: Story, subtrees: int, samples: int) -> None:
    """All subtrees take a step at the same time."""
    while not story.told:
        tips: list[State] = [story.root] * subtrees
        while tips and not story.told:
            found = story.step([tip for tip in tips for _ in range(samples)])
            leaders = [leader(found[first : first + samples]) for first in range(0, len(found), samples)]
            tips = [state for state in leaders if state and not state.over]


def leader(states: list[State | None]) -> State | None:
    """The state with the highest confidence, the first of equals."""
    best = None
    for state in states:
        if state and (best is None or state.confidence > best.confidence):
            best = state
    return best
