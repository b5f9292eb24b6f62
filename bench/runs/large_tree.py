"""Measures what a token costs the host while one tree grows very large."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
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
    grown = [(engine.prefill("How many eggs are left?"), 0)]
    parts: list[Growth] = []
    for waves in _forks(grown, nodes, stretch):
        host, tokens = time.process_time() - clock.seconds, engine.usage.generated_tokens
        for wave in waves:
            sampling = Sampling(max_tokens=TOKENS, ignore_eos=True, seed=len(grown))
            families = engine.expand([node for node, _ in wave], 1, sampling)
            grown += [(child, depth + 1) for (_, depth), [child] in zip(wave, families, strict=True)]
        host = time.process_time() - clock.seconds - host
        parts.append(Growth(len(grown), 1e6 * host / (engine.usage.generated_tokens - tokens)))
        tell(parts[-1])
    engine.tree.check_integrity()
    return parts


def _forks(grown: list[tuple[Node, int]], nodes: int, stretch: int) -> Iterator[Iterator[list[tuple[Node, int]]]]:
    """The nodes to fork from, wave by wave, for each part; chosen among those that have `grown` by then."""
    chance = random.Random(1)
    open_nodes: list[tuple[Node, int]] = []
    seen = 0

    def wave() -> list[tuple[Node, int]]:
        nonlocal seen
        open_nodes.extend(each for each in grown[seen:] if each[1] < MAX_DEPTH)
        seen = len(grown)
        return chance.choices(open_nodes, k=BRANCHES)

    while len(grown) < nodes:
        yield (wave() for _ in range(stretch))
