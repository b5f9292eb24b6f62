"""Reasoning that may become training data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceStep:
    """A node of a search tree on the way to a trace's end.

    Attributes:
        text: What it adds.
        value: Mean reward of the rollouts through it; None if the search did not say.
        visits: Those rollouts.
        successes: How many of them have the right answer; None without a reference answer.
    """

    text: str
    value: float | None
    visits: int
    successes: int | None


@dataclass(frozen=True, slots=True)
class ReasoningTrace:
    """One answer to one question, with the reasoning that leads to it. What a source does not say is None.

    Attributes:
        question: The question as it was asked.
        text: The reasoning with the answer.
        answer: The final answer in it; empty if there is none.
        complete: Whether the model ended the text itself.
        system: System message it was generated with.
        value: Reward of the rollout.
        confidence: Of its search: share of the total reward that agrees with the answer that was chosen.
        agreement: Share of its search's rollouts that have the same answer.
        correct: Whether the answer is the reference answer.
        baseline: Mean reward of its search's rollouts.
        steps: The nodes from the first to the last; none if it does not come from a tree.
    """

    question: str
    text: str
    answer: str
    complete: bool = True
    system: str | None = None
    value: float | None = None
    confidence: float | None = None
    agreement: float | None = None
    correct: bool | None = None
    baseline: float | None = None
    steps: tuple[TraceStep, ...] = ()

    @property
    def grade(self) -> str:
        """`correct` in a word: data sets hold strings better than a mixture of booleans and nothing."""
        return {True: "right", False: "wrong", None: "unknown"}[self.correct]
