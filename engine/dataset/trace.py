"""Reasoning traces, which may become training data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TraceStep:
    """A node of a search tree on the path of a trace.

    Attributes:
        text: The text that the node adds.
        value: Mean reward of the rollouts through the node; None if the search did not record it.
        visits: Number of rollouts through the node.
        successes: Number of these rollouts that have the right answer; None without a reference answer.
    """

    text: str
    value: float | None
    visits: int
    successes: int | None


@dataclass(frozen=True, slots=True)
class ReasoningTrace:
    """One answer to one question, with the reasoning that leads to it. A field that the source lacks is None.

    Attributes:
        question: The question as it was asked.
        text: The reasoning including the answer.
        answer: The final answer in `text`; empty if there is none.
        complete: Whether the model ended the text itself.
        system: System message that the text was generated with.
        value: Reward of the rollout.
        confidence: Confidence of its search: the share of the total reward that belongs to the chosen answer.
        agreement: Share of its search's rollouts that have the same answer.
        correct: Whether the answer is the reference answer.
        baseline: Mean reward of its search's rollouts.
        steps: The nodes of its path, in order; empty if it does not come from a tree.
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
        """`correct` as `"right"`, `"wrong"` or `"unknown"`: a string column is easier than booleans mixed with null."""
        return {True: "right", False: "wrong", None: "unknown"}[self.correct]
