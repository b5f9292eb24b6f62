"""Child process that times the host side of one checkout; answers `bench.common.remote.Remote`."""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from marcot.engine import MCTS, BestOfN, Sampling

from ..common.child import answer_with
from .canned_engine import canned_engine
from .canned_kernels import DeviceClock

PREFIX_TOKENS = 512
NEW_TOKENS = 128
"""Tokens per branch and run."""

T = TypeVar("T")

QUESTIONS, CONCURRENCY = 128, 64
"""Questions of a search, and how many run at once. Each has up to four chains in flight: up to 256 rows per step."""

PROMPTS = 64
"""Number of prompts that are computed at once."""

_PROMPT = [1 + token % 500 for token in range(PREFIX_TOKENS)]


class Side:
    """Runs workloads. Its public methods are the commands."""

    def __init__(self) -> None:
        """Create the engine."""
        torch.set_num_threads(1)
        try:
            from marcot.engine.startup import tune_garbage_collector  # as our programs do
        except ImportError:
            gc.freeze()  # which the programs of older checkouts did not even do
        else:
            tune_garbage_collector()
        self._clock = DeviceClock()
        self._engine = canned_engine(self._clock)

    def decode(self, branches: int, seed: int) -> dict[str, Any]:
        """Decode `branches` branches that continue one prompt."""
        sampling = Sampling(max_tokens=NEW_TOKENS, ignore_eos=True, seed=seed)
        with self._engine.prefill(_PROMPT) as node:
            children = self._measured(lambda: self._engine.expand(node, branches, sampling))
            for child in children:
                child.release()
        return self._report([child.token_ids.tolist() for child in children])

    def prompts(self, seed: int) -> dict[str, Any]:
        """Compute many prompts at once."""
        engine: Any = self._engine
        prompts = [[1 + seed, 1 + number, *_PROMPT[2:]] for number in range(PROMPTS)]
        is_older = not hasattr(engine, "routines")  # a checkout without `Routines`
        opened = engine._open if is_older else engine.routines.open
        nodes = [opened(prompt) for prompt in prompts]

        def run() -> None:
            prefills = [engine._scheduler.prefill(node.kv, engine.usage) for node in nodes]
            engine._run(prefills if is_older else engine.routines.finished(prefills))

        self._measured(run)
        for node in nodes:
            node.release()
        return self._report(prompts) | {"tokens": PROMPTS * PREFIX_TOKENS}

    def mcts(self, seed: int) -> dict[str, Any]:
        """Run MCTS, Marco-o1's search, with default parameters."""
        return self._searched(MCTS(sampling=Sampling(seed=seed)), seed)

    def best_of_n(self, seed: int) -> dict[str, Any]:
        """Run best of n: draw eight chains per question."""
        return self._searched(BestOfN(rollouts=8, parallel=8, sampling=Sampling(seed=seed)), seed)

    def _searched(self, strategy: Any, seed: int) -> dict[str, Any]:  # noqa: ANN401
        questions = [f"Run {seed}: how many of {number} eggs are left? " + "Think. " * 8 for number in range(QUESTIONS)]

        search = self._engine.search
        results = self._measured(lambda: search(questions, strategy, concurrency=CONCURRENCY))
        return self._report([node.token_ids for result in results for node in result.tree])

    def _measured(self, run: Callable[[], T]) -> T:
        """Return the result of `run`, and record its tokens and times for `_report`."""
        self._before = (self._engine.usage.generated_tokens, self._clock.seconds, time.process_time())
        result = run()
        self._after = (self._engine.usage.generated_tokens, self._clock.seconds, time.process_time())
        return result

    def _report(self, drawn: Sequence[Sequence[int]]) -> dict[str, Any]:
        tokens, device, wall = (after - before for before, after in zip(self._before, self._after, strict=True))
        digest = hashlib.sha256(repr([list(ids) for ids in drawn]).encode()).hexdigest()[:16]
        return {"tokens": tokens, "seconds": wall - device, "device_seconds": device, "drawn": digest}


def main() -> None:
    """Answer until standard input ends."""
    answer_with(Side)
