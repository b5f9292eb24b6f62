"""marcot."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from marcot.engine import Engine, Expansion, Sampling
from marcot.engine.node import Node
from marcot.model import KVCache

from .kernel_clock import KernelClock
from .peer import TOP_K, Peer

_KV_TOKENS = 32_768
"""Enough for 64 paths of a recorded tree with nothing shared."""

_OVERHEAD_ROUNDS = 5


class Marcot(Peer):
    """marcot. K and V of the prefix are stored once and read once per step."""

    def __init__(self, model: Path, threads: int, compute: str) -> None:
        self._model, self._threads, self._compute = str(model), threads, compute
        self._engine = self._loaded(_KV_TOKENS)
        self._forks: list[tuple[Node, int]] = []
        self._rounds = count()

    def _loaded(self, kv_tokens: int | None) -> Engine:
        """Load an engine with an empty cache."""
        return Engine.load(self._model, compute=self._compute, threads=self._threads, kv_tokens=kv_tokens)

    def prefill(self, ids: list[int]) -> None:
        self._engine.prefill(ids).release()

    def fork(self, prefix: list[int], branches: int) -> None:
        self._forks = [(self._engine.prefill(prefix), branches)]

    def fork_leaves(self, paths: Sequence[list[int]]) -> None:
        """Compute `paths`, each to be continued by one branch; tokens that paths share are stored once."""
        self._forks = []
        self._forks = [(self._engine.prefill(path), 1) for path in paths]

    def start(self, passes: int) -> None:
        sampling = Sampling(temperature=1.0, top_k=TOP_K, top_p=1.0, max_tokens=passes + 1, ignore_eos=True)
        index = next(self._rounds)
        self._round = [Expansion(node, branches, sampling, index * branches) for node, branches in self._forks]

    def decode(self) -> None:
        for children in self._engine.expand(self._round):
            for child in children:
                assert child.confidence > 0

    def first_token(self, ids: list[int]) -> None:
        """Compute a prompt and draw the token after it."""
        with self._engine.prefill(ids) as node:
            self._engine.expand(node, 1, Sampling(max_tokens=1))

    def facts(self) -> dict[str, Any]:
        """Return `byte_counts` of the engine."""
        return byte_counts(self._engine)

    def overhead(self, passes: int) -> float:
        """Return the fraction of a round that is spent outside of C++ kernels, the median of a few rounds."""
        shares = []
        for _ in range(_OVERHEAD_ROUNDS):
            self.start(passes)
            start = time.perf_counter()
            with KernelClock() as clock:
                self.decode()
            shares.append(1 - clock.seconds / (time.perf_counter() - start))
        return statistics.median(shares)


def byte_counts(engine: Engine) -> dict[str, int]:
    """Return sizes in bytes: all packed weights, the weights that a decode step reads, and K and V of one token."""
    decoder = engine._scheduler._step_runner._decoder
    gathered = 0 if decoder.config.tied_embeddings else decoder._embedding.nbytes
    return {
        "weight_bytes": decoder.weight_bytes,
        "step_weight_bytes": decoder.weight_bytes - gathered,
        "kv_token_bytes": KVCache.token_bytes(decoder.config, decoder.dtype),
    }
