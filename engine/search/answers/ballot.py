"""The votes of a running search, counted as its rollouts come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answer_rule import Vote
from .key import normalise_answer

if TYPE_CHECKING:
    from ..result import Rollout


class _TopTwo:
    """Sums of votes by answer, of which the two largest are always known.

    Attributes:
        first: The largest sum; 0 if there is none.
        second: The largest sum of any other answer; 0 if there is none.
    """

    def __init__(self) -> None:
        self.first: float = 0
        self.second: float = 0
        self._leader: str | None = None
        self._sums: dict[str, float] = {}

    def add(self, answer: str, weight: float) -> None:
        """Add a vote of `weight` >= 0."""
        total = self._sums[answer] = self._sums.get(answer, 0) + weight
        if answer == self._leader:
            self.first = total
        elif total > self.first or self._leader is None:
            self.first, self.second, self._leader = total, self.first, answer
        else:
            self.second = max(self.second, total)


class Ballot:
    """Counts rollouts and votes, so that what a search asks after every rollout costs the same however many there are.

    Attributes:
        best: The rollout with the highest value, the first of equals; None before the first.
    """

    def __init__(self, vote: Vote | None) -> None:
        """Count votes, with the weights of `vote` if a decision by it is of interest."""
        self.best: Rollout | None = None
        self._vote = vote
        self._given: dict[str, int] = {}
        self._answered = 0
        self._complete = _TopTwo()
        self._weighted = _TopTwo()

    def add(self, rollout: Rollout) -> None:
        """Count a rollout."""
        if self.best is None or rollout.value > self.best.value:
            self.best = rollout
        if not rollout.answer:
            return
        answer = normalise_answer(rollout.answer)
        self._given[answer] = self._given.get(answer, 0) + 1
        self._answered += 1
        if not rollout.complete:
            return
        self._complete.add(answer, 1)
        if self._vote is not None:
            self._weighted.add(answer, self._vote.weight(rollout))

    @property
    def for_best(self) -> tuple[int, int]:
        """How many rollouts gave the answer of the best one, and how many gave any answer."""
        answer = normalise_answer(self.best.answer) if self.best is not None else ""
        return self._given.get(answer, 0), self._answered

    @property
    def margin(self) -> int:
        """By how many rollouts the most frequent answer is ahead of the next; only complete ones with an answer count.

        Stopping at a margin is Wald's sequential test of two hypotheses by the difference of their counts (1945),
        applied to the two most frequent answers.
        """
        return int(self._complete.first - self._complete.second)

    def is_decided(self, left: int) -> bool:
        """Whether the leading answer still wins the vote if `left` more rollouts all give the second one or a new one.

        Every one of them may have a weight of 1.
        """
        return self._weighted.first > self._weighted.second + left
