"""Reward-balanced search."""

from __future__ import annotations

import math

from .search import Search, State


def rebase(search: Search, samples: int, balance: float) -> None:
    while not search.finished:
        budget = samples
        forks: list[State] = [search.root] * budget
        while forks and not search.finished:
            reached = [state for state in search.step(forks) if state]
            budget -= len([state for state in reached if state.ended])
            unfinished: list[State] = []
            for state in reached:
                if not state.ended and state not in unfinished:
                    unfinished.append(state)
            seats = hamilton(budget, [math.exp(state.confidence / balance) for state in unfinished])
            forks = [state for state, number in zip(unfinished, seats, strict=True) for _ in range(number)]


def hamilton(seats: int, votes: list[float]) -> list[int]:
    """Hamilton's apportionment: everyone gets the whole part of the quota; the rest goes to the largest remainders."""
    quotas = [seats * each / sum(votes) for each in votes]
    given = [int(quota) for quota in quotas]
    while votes and sum(given) < seats:
        lacking = [quota - number for quota, number in zip(quotas, given, strict=True)]
        given[lacking.index(max(lacking))] += 1
    return given
