"""Monte Carlo tree search, recursively."""

from __future__ import annotations

import math
from collections import Counter

from .story import State, Story


def mcts(story: Story, width: int, exploration: float, greedy_first: bool) -> None:
    while not story.told:
        flying: Counter[State] = Counter()
        forks: list[State] = []
        everything = exhausted(story.root, width)
        while story.fits(forks):
            fork = story.root if everything else select(story.root, flying, width, exploration)
            if fork is None:
                break
            forks.append(fork)
            flying.update(fork.way)
        story.finish(forks, greedy_first and not story.endings)


def select(state: State, flying: Counter[State], width: int, exploration: float) -> State | None:
    """Where the next chain starts; chains in flight count as visits of value 0."""
    seen = state.visits + flying[state]
    if seen < width:
        return state
    candidates = [child for child in state.after if not exhausted(child, width)]
    if not candidates:
        return None
    bounds = [bound(child, child.visits + flying[child], seen, exploration) for child in candidates]
    return select(candidates[bounds.index(max(bounds))], flying, width, exploration)


def bound(state: State, visits: int, seen: int, exploration: float) -> float:
    """UCB1 with the constant in front: Q/N + C sqrt(2 ln(parent) / N)."""
    return state.total / visits + exploration * math.sqrt(2 * math.log(seen) / visits)


def exhausted(state: State, width: int) -> bool:
    """Whether nothing new can be found at `state` or below."""
    if state.over:
        return True
    return state.visits >= width and bool(state.after) and all(exhausted(child, width) for child in state.after)
