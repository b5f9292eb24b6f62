"""MGSM (arXiv 2210.03057): grade-school arithmetic in words, answered greedily by a chain of reasoning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from marcot.engine import MCTS, Engine, Outcome, Sampling
from marcot.engine.evaluation import INSTRUCTIONS, Problem
from marcot.engine.search import normalise_answer

INSTRUCTION = INSTRUCTIONS["en"]
"""Follows each question."""

MAX_TOKENS = 320
"""Of a chain; longer ones are cut, and answered by what they say until there."""

CONCURRENCY = 64
"""Questions that are answered at a time."""

KV_TOKENS = 36_864
"""Room for that many prompts and chains."""


class Attempt(NamedTuple):
    """How a model answered.

    Attributes:
        number: Which problem.
        right: Whether the answer is right.
        answer: In the form in which answers are compared.
        text: The whole chain.
        finish_reason: Why it ended; "length" if it was cut.
    """

    number: int
    right: bool
    answer: str
    text: str
    finish_reason: str


def attempts(engine: Engine, asked: Sequence[Problem]) -> Iterator[Attempt]:
    """Answer every problem, greedily; a search of one rollout is one chain. Yields them as they are finished.

    Raises:
        MarcotError: A question cannot be answered.
    """
    greedy = MCTS(rollouts=1, max_depth=1, max_rollout_tokens=MAX_TOKENS, sampling=Sampling(temperature=0))
    questions = (problem.question for problem in asked)
    for event in engine.stream(questions, greedy, instruction=INSTRUCTION, concurrency=CONCURRENCY):
        if isinstance(event, Outcome):
            if event.result is None:
                assert event.error is not None
                raise event.error
            problem = asked[event.index]
            [chain] = event.result.rollouts
            answer = normalise_answer(chain.answer)
            right = answer == normalise_answer(problem.answer)
            yield Attempt(problem.number, right, answer, chain.text, chain.finish_reason)
