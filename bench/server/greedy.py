"""Greedy answers of the engine without a server, which those of servers are compared with."""

from __future__ import annotations

from marcot.engine import Engine, Sampling

PROMPTS = 24
"""Number of different prompts."""

TOKENS = 24
"""Tokens of each answer."""


def greedy_answers(model: str, threads: int) -> dict[str, str]:
    """The greedy answer of each prompt."""
    engine = Engine.load(model, threads=threads)
    sampling = Sampling(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    answers = {}
    for number in range(PROMPTS):
        prompt = f"Question {number}: how many clips are {number} and {number + 7}? Answer:"
        with engine.prefill(prompt) as node:
            [child] = engine.expand(node, 1, sampling)
            answers[prompt] = child.text
    return answers
