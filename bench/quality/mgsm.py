"""Answers MGSM (arXiv 2210.03057), grade-school arithmetic word problems, greedily with one chain per question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from marcot.engine import MCTS, Engine, Outcome, Sampling
from marcot.engine.evaluation import INSTRUCTIONS, Problem
from marcot.engine.search import normalise_answer

INSTRUCTION = INSTRUCTIONS["en"]
"""Instruction after each question."""

MAX_TOKENS = 320
"""Maximum tokens of a chain. Longer chains are cut, and the answer is taken from the part before."""

CONCURRENCY = 64
"""Questions that are answered at once."""

KV_TOKENS = 36_864
"""KV capacity: enough for `CONCURRENCY` prompts and chains."""


class Attempt(NamedTuple):
    """The answer of a model to one problem.

    Attributes:
        number: Number of the problem.
        right: Whether the answer is right.
        answer: The answer, normalised for comparison.
        text: The whole chain.
        finish_reason: Why the chain ended; "length" if it was cut.
    """

    number: int
    right: bool
    answer: str
    text: str
    finish_reason: str


def attempts(engine: Engine, asked: Sequence[Problem]) -> Iterator[Attempt]:
    """Answer every problem greedily, by a search of one rollout; yield the answers as they are finished.

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
