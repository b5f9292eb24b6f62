"""How busy an engine is, and what it has done."""

from __future__ import annotations

from typing import NamedTuple


class EngineStats(NamedTuple):
    """Gauges and counters of a serving engine, as of its last step. From `prompt_tokens` on they only grow.

    Attributes:
        requests: Open requests.
        running: Branches, prompts and sequences to be scored in the running batch.
        waiting: Those that wait for a place in the batch.
        kv_usage: Share of the KV pages, from 0 to 1, that running work needs; the rest is free or holds cached tokens.
        prompt_tokens: Prompt tokens of all requests.
        cached_tokens: How many of them were in the cache when their request arrived.
        generated_tokens: Tokens drawn; those of a search are counted when it ends.
        recomputed_tokens: Tokens run through the model again because their pages had been evicted.
        preemptions: How often a branch lost its K and V to make room.
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
