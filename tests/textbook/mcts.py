"""Monte Carlo tree search, recursively."""

from __future__ import annotations

import math
from collections import Counter

from .search import Search, State


def mcts(search: Search, width: int, exploration: float, greedy_first: bool) -> None:
    while not search.finished:
        in_flight: Counter[State] = Counter()
        forks: list[State] = []
        everything = exhausted(search.root, width)
        while search.fits(forks):
            fork = search.root if everything else select(search.root, in_flight, width, exploration)
            if fork is None:
                break
            forks.append(fork)
            in_flight.update(fork.path)
        search.finish(forks, greedy_first and not search.endings)


def select(state: State, in_flight: Counter[State], width: int, exploration: float) -> State | None:
    """Where the next chain starts; chains in flight count as visits of value 0."""
    seen = state.visits + in_flight[state]
    if seen < width:
        return state
    candidates = [child for child in state.children if not exhausted(child, width)]
    if not candidates:
        return None
    bounds = [bound(child, child.visits + in_flight[child], seen, exploration) for child in candidates]
    return select(candidates[bounds.index(max(bounds))], in_flight, width, exploration)


def bound(state: State, visits: int, seen: int, exploration: float) -> float:
    """UCB1 with the constant in front: Q/N + C sqrt(2 ln(parent) / N)."""
    return state.total / visits + exploration * math.sqrt(2 * math.log(seen) / visits)


def exhausted(state: State, width: int) -> bool:
    """Whether nothing new can be found at `state` or below."""
    if state.ended:
        return True
    return state.visits >= width and bool(state.children) and all(exhausted(child, width) for child in state.children)
