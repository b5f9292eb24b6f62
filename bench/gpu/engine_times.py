"""Wall-clock times of the whole engine: decode steps, prompts and searches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import count

import torch
from marcot.engine import MCTS, Engine, Expansion, Node, Sampling

from ..common.prompt import random_ids
from .words import words_of

PREFIX_TOKENS = 512
SHORT, LONG = 33, 97
"""Tokens per branch in two draws, whose difference in time gives the time per token: without forks, with full pages."""

_PAIRS = 3
_TOP_K = 20


class BranchTimes:
    """Times branches on one engine. Each draw uses new sample indexes, so that no branch is found in the cache."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._first: Iterator[int] = count()

    def step_seconds(self, forks: Sequence[Node]) -> float:
        """Seconds of one step, which adds a token to each of `forks`.

        Call `draw` before, as the first draw compiles kernels and records graphs. Every fork is continued by `LONG`
        and by `SHORT` tokens; the difference excludes the first token, which needs no step, and all work that is done
        once per branch.
        """
        pairs = [self.draw(forks, LONG) - self.draw(forks, SHORT) for _ in range(_PAIRS)]
        return statistics.median(pairs) / (LONG - SHORT)

    def draw(self, forks: Sequence[Node], tokens: int) -> float:
        """Seconds that it takes to continue each fork by `tokens` tokens."""
        sampling = Sampling(temperature=1.0, top_k=_TOP_K, top_p=1.0, max_tokens=tokens, ignore_eos=True)
        expansions = [Expansion(fork, 1, sampling, next(self._first)) for fork in forks]
        started = time.perf_counter()
        children = self._engine.expand(expansions)
        taken = time.perf_counter() - started
        for [child] in children:
            child.release()
        return taken


def prompt_speed(engine: Engine, prompts: int, tokens: int, first: int) -> float:
    """Tokens per second of prompts computed together, none of them cached; `first` numbers the first random prompt."""
    nodes = [engine.routines.open(random_ids(tokens, first + number)) for number in range(prompts)]
    try:
        started = time.perf_counter()
        engine._run(engine.routines.finished([engine._scheduler.prefill(node.kv, engine.usage) for node in nodes]))
        _wait(engine)
        return prompts * tokens / (time.perf_counter() - started)
    finally:
        for node in nodes:
            node.release()


def search_speed(engine: Engine, strategy: MCTS, questions: int, concurrency: int, first: int) -> float:
    """Tokens drawn per second by searches, prompt time included; `first` numbers the first random question."""
    asked = [words_of(random_ids(_QUESTION_TOKENS, first + number)) for number in range(questions)]
    before, started = engine.usage.generated_tokens, time.perf_counter()
    engine.search(asked, strategy, concurrency=concurrency)
    return (engine.usage.generated_tokens - before) / (time.perf_counter() - started)


_QUESTION_TOKENS = 90
"""Typical length of a grade-school maths question in chat format."""


def _wait(engine: Engine) -> None:
    if engine._device.type == "cuda":
        torch.cuda.synchronize()
