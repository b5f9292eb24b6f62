"""The expansions of a search, so that every contestant can do the same ones.

Only counts are recorded: a contestant draws its own tokens and continues its own branches, so that its caches fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self


class Branch(NamedTuple):
    """A chain that an expansion drew, from its fork to its end.

    Attributes:
        wave: Number of the wave that it was drawn in. A wave begins when the one before has ended.
        parent: Index of the earlier branch that it continues; None if it continues the prompt.
        kept: How many tokens after the prompt it takes over from that branch; 0 for the prompt.
        tokens: Number of tokens drawn.
    """

    wave: int
    parent: int | None
    kept: int
    tokens: int


class Schedule(NamedTuple):
    """The expansions of one question.

    Attributes:
        prompt: Token ids of the prompt.
        branches: In the order in which they were asked for.
    """

    prompt: list[int]
    branches: list[Branch]

    @classmethod
    def of(cls, plain: Sequence[Any]) -> Self:
        """Convert a schedule back from the lists of its JSON form."""
        prompt, branches = plain
        return cls(prompt, [Branch(*branch) for branch in branches])

    @property
    def waves(self) -> list[list[int]]:
        """Indices of the branches of each wave."""
        waves: list[list[int]] = [[] for _ in range(1 + max(branch.wave for branch in self.branches))]
        for index, branch in enumerate(self.branches):
            waves[branch.wave].append(index)
        return waves

    @property
    def drawn(self) -> int:
        """Number of tokens drawn."""
        return sum(branch.tokens for branch in self.branches)

    @property
    def whole_positions(self) -> int:
        """Number of tokens that pass through a model that computes the whole sequence again for each token."""
        return sum(
            branch.tokens * (len(self.prompt) + branch.kept) + branch.tokens * (branch.tokens - 1) // 2
            for branch in self.branches
        )

    def head(self, branches: int) -> Schedule:
        """Return the schedule of the first `branches` branches alone."""
        return Schedule(self.prompt, self.branches[:branches])


class Start(NamedTuple):
    """A branch that can be drawn now.

    Attributes:
        question: Index of its question.
        number: Index of the branch in the question's schedule.
        branch: The branch.
        prefix: The tokens that it continues, prompt included.
    """

    question: int
    number: int
    branch: Branch
    prefix: list[int]


class Replay:
    """Goes through the schedules of several questions at once and says which branches can be drawn.

    A question's wave begins when all branches of the wave before are drawn, as in the search itself.
    """

    def __init__(self, schedules: Sequence[Schedule]) -> None:
        self._schedules = schedules
        self._waves = [schedule.waves for schedule in schedules]
        self._wave = [0] * len(schedules)
        self._running = [len(waves[0]) for waves in self._waves]
        self._chains: list[dict[int, list[int]]] = [{} for _ in schedules]

    def begin(self) -> list[Start]:
        """Return the first wave of every question."""
        return [start for question in range(len(self._schedules)) for start in self._starts(question)]

    def waves(self) -> Iterator[list[Start]]:
        """Yield every wave, question by question; its branches must be drawn before the next one is taken."""
        for question, waves in enumerate(self._waves):
            for number in range(len(waves)):
                assert self._wave[question] == number, "the wave before has not been drawn"
                yield self._starts(question)

    def finish(self, start: Start, token_ids: Sequence[int]) -> list[Start]:
        """Note the tokens that were drawn on a branch, and return the branches that can be drawn since.

        Raises:
            ValueError: It is another number of tokens than scheduled.
        """
        question, number, branch, prefix = start
        if len(token_ids) != branch.tokens:
            raise ValueError(f"{len(token_ids)} tokens drawn, {branch.tokens} scheduled")
        self._chains[question][number] = [*prefix, *token_ids]
        self._running[question] -= 1
        if self._running[question]:
            return []
        self._wave[question] += 1
        if self._wave[question] == len(self._waves[question]):
            self._chains[question].clear()
            return []
        starts = self._starts(question)
        self._running[question] = len(starts)
        return starts

    def _starts(self, question: int) -> list[Start]:
        schedule = self._schedules[question]
        starts = []
        for number in self._waves[question][self._wave[question]]:
            branch = schedule.branches[number]
            above = schedule.prompt if branch.parent is None else self._chains[question][branch.parent]
            starts.append(Start(question, number, branch, above[: len(schedule.prompt) + branch.kept]))
        return starts
