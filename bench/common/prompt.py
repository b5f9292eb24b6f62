"""Prompts of random tokens: what an engine computes does not depend on which tokens they are."""

from __future__ import annotations

import random

_FIRST_ID, _LAST_ID = 1_000, 10_000
"""Ordinary tokens of every vocabulary here."""


def random_ids(tokens: int, copy: int = 0) -> list[int]:
    """The same `tokens` token ids every time; another `copy` has another first token, so that nothing is shared."""
    generator = random.Random(tokens)
    ids = [generator.randrange(_FIRST_ID, _LAST_ID) for _ in range(tokens)]
    return [copy, *ids[1:]]
