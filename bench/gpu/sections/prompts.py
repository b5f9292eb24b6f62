"""Tokens per second of many prompts computed together."""

from __future__ import annotations

import torch

from ..engine_times import prompt_speed
from ..findings import Rate
from ..section import Task

PROMPTS, TOKENS = 64, 512
KV_TOKENS = 4 * PROMPTS * TOKENS


def run(task: Task) -> None:
    """Time every model's prompts."""
    for model in task.models:
        engine = model.engine(task.device, KV_TOKENS)
        prompt_speed(engine, PROMPTS, TOKENS, 0)  # compiles and records
        task.notebook.add(Rate("prompts", model.name, PROMPTS, prompt_speed(engine, PROMPTS, TOKENS, PROMPTS)))
        del engine
        torch.cuda.empty_cache()
