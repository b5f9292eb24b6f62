"""Diverse verifier tree search."""

from __future__ import annotations

from .search import Search, State


def dvts(search: Search, subtrees: int, samples: int) -> None:
    """All subtrees take a step at the same time."""
    while not search.finished:
        tips: list[State] = [search.root] * subtrees
        while tips and not search.finished:
            found = search.step([tip for tip in tips for _ in range(samples)])
            leaders = [leader(found[first : first + samples]) for first in range(0, len(found), samples)]
            tips = [state for state in leaders if state and not state.ended]


def leader(states: list[State | None]) -> State | None:
    """The state with the highest confidence, the first of equals."""
    best = None
    for state in states:
        if state and (best is None or state.confidence > best.confidence):
            best = state
    return best
