"""Prompts of random tokens; which tokens they are makes no difference to the speed of an engine."""

from __future__ import annotations

import random

PREFIX_TOKENS = 512
"""Tokens of a shared prefix: about a system prompt, a few examples and a question."""

_FIRST_ID, _LAST_ID = 20, 300
"""A range of ids that every vocabulary has, that of a tiny random checkpoint included."""


def random_ids(tokens: int, copy: int = 0) -> list[int]:
    """Return the same `tokens` token ids every time; copies differ in the first token, so that they share no prefix."""
    generator = random.Random(tokens)
    ids = [generator.randrange(_FIRST_ID, _LAST_ID) for _ in range(tokens)]
    return [copy, *ids[1:]]
