"""Tokens per second of whole searches, with as many branches in flight as the largest decode step."""

from __future__ import annotations

import torch
from marcot.engine import MCTS

from ..engine_times import search_speed
from ..findings import Rate
from ..section import Task

IN_FLIGHT = 256
_CHAINS = 8
QUESTIONS = 64

_BEFORE = 32
"""Number of warm-up questions, during which kernels are compiled and graphs recorded; they do not count."""

KV_TOKENS = 262_144

STRATEGY = MCTS(rollouts=16, parallel=_CHAINS, action="mini-step-64", max_rollout_tokens=256, vote_margin=0)
"""Every question draws 16 chains, eight at a time. No search stops early, so that as many chains as possible run."""


def run(task: Task) -> None:
    """Time searches with every model."""
    for model in task.models:
        engine = model.engine(task.device, KV_TOKENS)
        if engine.tokenizer is None:
            task.notebook.note(f"{model.name} has no tokenizer, which a search needs")
            continue
        concurrency = IN_FLIGHT // _CHAINS
        search_speed(engine, STRATEGY, _BEFORE, concurrency, 0)
        speed = search_speed(engine, STRATEGY, QUESTIONS, concurrency, _BEFORE)
        task.notebook.add(Rate("search", model.name, IN_FLIGHT, speed))
        del engine
        torch.cuda.empty_cache()
