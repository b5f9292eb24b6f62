"""Monte Carlo tree search, recursively."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from support.searches.toy_world import EOS

from .search import Search, State

WINDOW = 8
"""Tokens between two looks at chains in flight."""


def mcts(search: Search, width: int, exploration: float, greedy_first: bool, asynchronous: bool) -> None:
    if asynchronous:
        Simulation(search, width, exploration).run(greedy_first)
        return
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


class Flight(NamedTuple):
    """A chain in flight: it is drawn already, but its end is not known to the search yet."""

    fork: State
    most: int
    tokens: list[int]
    confidences: list[float]
    began: int

    @property
    def ends(self) -> int:
        """The tick at which its end is noticed."""
        return self.began + math.ceil(len(self.tokens) / WINDOW)


class Simulation:
    """A discrete simulation: the clock jumps to the next tick at which a chain ends."""

    def __init__(self, search: Search, width: int, exploration: float) -> None:
        self.search, self.width, self.exploration = search, width, exploration
        self.flights: list[Flight] = []
        self.tick = 0
        self.known = 0

    @property
    def left(self) -> int:
        most = self.search.limits.tokens
        return 10**9 if most is None else most - self.known

    def run(self, greedy_first: bool) -> None:
        while True:
            self.start(greedy_first and not (self.search.endings or self.flights))
            if not self.flights:
                return
            self.tick = min(flight.ends for flight in self.flights)
            self.finish([flight for flight in self.flights if flight.ends == self.tick])

    def start(self, greedy: bool) -> None:
        search = self.search
        in_flight = Counter(state for flight in self.flights for state in flight.fork.path)
        everything = exhausted(search.root, self.width)
        forks: list[State] = []
        while min(self.left, search.chains_left, search.votes_missing) >= 1 and self.fits(forks):
            fork = search.root if everything else select(search.root, in_flight, self.width, self.exploration)
            if fork is None:
                break
            forks.append(fork)
            in_flight.update(fork.path)
        for number, fork in enumerate(forks):
            free = self.left - sum(flight.most for flight in self.flights)
            most = min(free, search.limits.chain - len(fork.tokens))
            tokens, confidences = search.model.write(fork.tokens, most, None, greedy and number == 0)
            self.flights.append(Flight(fork, most, tokens, confidences, self.tick))

    def fits(self, forks: list[State]) -> bool:
        search, count = self.search, len(self.flights) + len(forks)
        if count >= min(search.limits.parallel, search.chains_left, search.votes_missing):
            return False
        promised = sum(flight.most for flight in self.flights)
        promised += sum(search.limits.chain - len(fork.tokens) for fork in forks)
        return not count or promised + search.limits.chain <= self.left

    def finish(self, ended: list[Flight]) -> None:
        self.flights = [flight for flight in self.flights if flight not in ended]
        self.known += sum(len(flight.tokens) for flight in ended)
        spent = self.known + sum(WINDOW * (self.tick - flight.began) for flight in self.flights)
        ends = [self.search._put(flight.fork, flight.tokens, flight.confidences, True) for flight in ended]
        for end, flight in zip(ends, ended, strict=True):
            self.search._end(end, end.confidence, "eos" if flight.tokens[-1] == EOS else "length", spent)
