"""The search of one question: a trie of states, and the finished chains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from support.searches.toy_world import EOS

from .model import BLANK, Model, cut, last_number, size, text_of


@dataclass(eq=False)
class State:
    """A node of the trie: its own tokens, and the values of the chains through it."""

    parent: State | None
    own_tokens: tuple[int, ...]
    own_confidences: tuple[float, ...]
    ended: bool
    children: list[State] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0
    rating: float | None = None

    @property
    def path(self) -> list[State]:
        return [*(self.parent.path if self.parent else []), self]

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(token for state in self.path for token in state.own_tokens)

    @property
    def confidence(self) -> float:
        """Marco-o1's value: the mean over all tokens from the prompt to here."""
        confidences = [confidence for state in self.path for confidence in state.own_confidences]
        return sum(confidences) / len(confidences)


class Ending(NamedTuple):
    """A finished chain."""

    state: State
    value: float
    answer: str
    finish_reason: str
    spent: int


@dataclass
class Limits:
    """When to stop."""

    rollouts: int | None = None
    tokens: int | None = None
    chain: int = 40
    depth: int = 64
    parallel: int = 1
    vote_margin: int = 0


class Search:
    def __init__(self, model: Model, action: str, limits: Limits) -> None:
        self.model = model
        self.action = action
        self.limits = limits
        self.root = State(None, (), (), False)
        self.states = [self.root]
        self.endings: list[Ending] = []

    @property
    def left(self) -> int:
        return 10**9 if self.limits.tokens is None else self.limits.tokens - self.model.drawn

    @property
    def chains_left(self) -> int:
        return 10**9 if self.limits.rollouts is None else self.limits.rollouts - len(self.endings)

    @property
    def finished(self) -> bool:
        return self.left < 1 or self.chains_left < 1 or self.votes_missing < 1

    @property
    def votes_missing(self) -> int:
        """The number of further votes that the leading answer needs to reach the vote margin."""
        if not self.limits.vote_margin:
            return 10**9
        votes = Counter(end.answer for end in self.endings if end.finish_reason in ("eos", "stop") and end.answer)
        counts = [count for _, count in votes.most_common(2)]
        return self.limits.vote_margin - (counts[0] if counts else 0) + (counts[1] if len(counts) > 1 else 0)

    def fits(self, forks: Sequence[State]) -> bool:
        """Whether another chain may run at the same time: all of them could still reach their full length."""
        if len(forks) >= min(self.limits.parallel, self.chains_left, self.votes_missing):
            return False
        needed = sum(self.limits.chain - len(fork.tokens) for fork in forks) + self.limits.chain
        return not forks or needed <= self.left

    def finish(self, forks: Sequence[State], greedy: int = 0) -> list[State | None]:
        """Continue each fork to the end of its chain, the first `greedy` of them with the most probable tokens.

        A wave may use no more tokens than are left, so earlier forks come first.
        """
        promised = 0
        ends: list[State | None] = []
        left = self.left
        for number, fork in enumerate(forks):
            most = min(left - promised, self.limits.chain - len(fork.tokens))
            promised += most
            if most < 1:
                ends.append(None)
                continue
            tokens, confidences = self.model.write(fork.tokens, most, None, number < greedy)
            end = self._put(fork, tokens, confidences, True)
            self._end(end, end.confidence, "eos" if tokens[-1] == EOS else "length", self.model.drawn)
            ends.append(end)
        return ends

    def step(self, forks: Sequence[State]) -> list[State | None]:
        """Draw an action after each fork, with equal shares of the tokens that are left."""
        reached: list[State | None] = []
        reasons: list[str] = []
        left = self.left
        for index, fork in enumerate(forks):
            most = min(left // (len(forks) - index), self.limits.chain - len(fork.tokens))
            left -= most
            tokens, confidences = self._action(fork, most)
            reason = "eos" if EOS in tokens else "length" if len(tokens) == most else ""
            reached.append(self._put(fork, tokens, confidences, bool(reason)) if most else None)
            reasons.append(reason)
        for state, reason in zip(reached, reasons, strict=True):
            if state and state.ended:
                self._end(state, state.confidence, reason or "length", self.model.drawn)
        for state in reached:
            if state:
                state.rating = state.confidence
        return reached

    def _action(self, fork: State, most: int) -> tuple[list[int], list[float]]:
        """A step ends at a blank line, except at one before its first text."""
        length = size(self.action)
        if length is not None and most:
            return self.model.write(fork.tokens, min(length, most), None)
        tokens: list[int] = []
        confidences: list[float] = []
        while len(tokens) < most and EOS not in tokens and not (text_of(tokens).strip() and tokens[-1] == BLANK):
            more, surer = self.model.write((*fork.tokens, *tokens), most - len(tokens), BLANK)
            tokens += more
            confidences += surer
        return tokens, confidences

    def _put(self, fork: State, tokens: list[int], confidences: list[float], ended: bool) -> State:
        """Add actions to the trie. At the greatest depth, all further tokens belong to one action."""
        actions = cut(tokens, self.action)
        room = self.limits.depth - len(fork.path) + 1
        if len(actions) > room:
            actions = [*actions[: room - 1], [token for action in actions[room - 1 :] for token in action]]
        state, first = fork, 0
        for number, action in enumerate(actions, start=1):
            is_end = number == len(actions) and (ended or number == room)
            same = [child for child in state.children if (child.own_tokens, child.ended) == (tuple(action), is_end)]
            if not same:
                own_confidences = tuple(confidences[first : first + len(action)])
                same = [State(state, tuple(action), own_confidences, is_end)]
                state.children += same
                self.states += same
            state = same[0]
            first += len(action)
        return state

    def _end(self, state: State, value: float, reason: str, spent: int) -> None:
        for passed in state.path:
            passed.visits += 1
            passed.total += value
        self.endings.append(Ending(state, value, last_number(text_of(state.tokens)), reason, spent))

    def close(self) -> None:
        """If no chain has ended, the longest path is the result."""
        if not self.endings:
            longest = max(self.states, key=lambda state: len(state.tokens))
            self._end(longest, longest.confidence if longest.tokens else 0.0, "length", self.model.drawn)
