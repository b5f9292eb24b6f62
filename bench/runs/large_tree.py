"""Measures what a token costs the host while one tree grows very large."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from marcot.engine import Node, Sampling
from marcot.model import PAGE_SIZE

from ..host.canned_engine import canned_engine
from ..host.canned_kernels import DeviceClock

BRANCHES, TOKENS = 16, 8
"""Branches of a wave, and tokens of each: the active part of the tree, which stays as large while the tree grows."""

_SPARE = 1024
"""Pages of the KV pool besides one for each node."""

MAX_DEPTH = 16
"""Depth of the tree. A path's length is part of a step's cost, so it must not grow with the tree."""


@dataclass
class Growth:
    """A part of the growth.

    Attributes:
        nodes: Nodes of the tree at its end.
        us: CPU microseconds of the host per token in it.
    """

    nodes: int
    us: float


def watch_growth(nodes: int, stretch: int, tell: Callable[[Growth], None]) -> list[Growth]:
    """Grow one tree by waves of branches that fork from random nodes. Every node keeps its handle and its pages.

    Args:
        nodes: Nodes of the tree at the end, about.
        stretch: Waves of each part that is watched.
        tell: Called with each part when it ends.
    """
    clock = DeviceClock()
    engine = canned_engine(clock, kv_tokens=(nodes + _SPARE) * PAGE_SIZE)
    chance = random.Random(1)
    by_depth: list[list[Node]] = [[engine.prefill("How many eggs are left?")], *([] for _ in range(MAX_DEPTH))]
    grown = 1
    parts: list[Growth] = []
    while grown < nodes:
        host, tokens = time.process_time() - clock.seconds, engine.usage.generated_tokens
        for _ in range(stretch):
            depths = chance.choices(range(MAX_DEPTH), [len(level) for level in by_depth[:MAX_DEPTH]], k=BRANCHES)
            forks = [chance.choice(by_depth[depth]) for depth in depths]
            families = engine.expand(forks, 1, Sampling(max_tokens=TOKENS, ignore_eos=True, seed=grown))
            for depth, family in zip(depths, families, strict=True):
                by_depth[depth + 1] += family
            grown += BRANCHES
        host = time.process_time() - clock.seconds - host
        parts.append(Growth(grown, 1e6 * host / (engine.usage.generated_tokens - tokens)))
        tell(parts[-1])
    engine.tree.check_integrity()
    return parts
