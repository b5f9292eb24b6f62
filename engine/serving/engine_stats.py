"""How busy an engine is, and what it has done."""

from __future__ import annotations

from typing import NamedTuple


class EngineStats(NamedTuple):
    """Numbers of an engine that serves, as of its last step. The lower ones only grow.

    Attributes:
        requests: Requests that are open.
        running: Branches, prompts and sequences to be scored that are in the batch.
        waiting: Those that wait for a place in it.
        kv_usage: Share of the KV pages that what runs needs, from 0 to 1; the others are free, or cache.
        prompt_tokens: Tokens of the prompts of all requests.
        cached_tokens: How many of them were in the cache when their request came.
        generated_tokens: Tokens drawn; those of a search are counted at its end.
        recomputed_tokens: Tokens run through the model again, as their pages had been taken.
        preemptions: Times a branch lost its K and V to make room.
    """

    requests: int = 0
    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    recomputed_tokens: int = 0
    preemptions: int = 0
