"""Beam search."""

from __future__ import annotations

from .search import Search, State


def beam(search: Search, beams: int, samples: int) -> None:
    while not search.finished:
        level(search, [search.root] * beams, beams, samples)


def level(search: Search, states: list[State], beams: int, samples: int) -> None:
    """Continue each of `states` by `samples` actions, and go on with the best `beams` of the new states."""
    if not states or search.finished:
        return
    ranked: list[State] = []
    for state in search.step([state for state in states for _ in range(samples)]):
        if state and state not in ranked:
            at = sum(other.confidence >= state.confidence for other in ranked)
            ranked.insert(at, state)
    level(search, [state for state in ranked[:beams] if not state.ended], beams, samples)
