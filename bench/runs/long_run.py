"""Measures memory and time during a run of very many short questions with one engine."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

from marcot.engine import MCTS, Outcome, Sampling
from marcot.engine.kv.node import KVNode
from marcot.engine.results.question_run import RunEvent

from ..host.canned_engine import canned_engine
from ..host.canned_kernels import DeviceClock

CONCURRENCY = 64
STRATEGY = MCTS(rollouts=2, width=2, max_rollout_tokens=24, vote_margin=0, sampling=Sampling(seed=1))
"""Short questions: about 40 tokens each."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Stretch:
    """A part of the run.

    Attributes:
        questions: Finished questions at its end.
        cpu_ms: CPU time of a question in it, results on disk included.
        memory_mb: Memory of the process at its end.
        live_nodes: Nodes of KV trees in the process's memory, those from before the run not counted.
        tree_nodes: Nodes in the engine's tree, which `check_integrity` has found consistent.
    """

    questions: int
    cpu_ms: float
    memory_mb: float
    live_nodes: int
    tree_nodes: int


def watch_run(questions: int, stretch: int, out: Path, tell: Callable[[Stretch], None]) -> list[Stretch]:
    """Search `questions` questions with an engine whose kernels answer at once; results go to `out`.

    Args:
        questions: Number of questions.
        stretch: Questions in each part that is watched.
        out: The results file.
        tell: Called with each part when it ends.
    """
    gc.collect()
    earlier = WeakSet(_live_nodes())
    engine = canned_engine(DeviceClock())
    asked = [f"How many of {number} eggs are left?" for number in range(questions)]
    parts: list[Stretch] = []
    ended, began = 0, time.process_time()

    def show(happened: RunEvent) -> None:
        nonlocal ended, began
        if not isinstance(happened.event, Outcome):
            return
        ended += 1
        if ended % stretch:
            return
        cpu_ms = 1e3 * (time.process_time() - began) / stretch
        engine.tree.check_integrity()
        gc.collect()
        live = sum(node not in earlier for node in _live_nodes())
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        tree = 1 + sum(1 for _ in engine.tree.nodes())  # and the root
        parts.append(Stretch(ended, cpu_ms, pages * _PAGE_BYTES / 1e6, live, tree))
        tell(parts[-1])
        began = time.process_time()

    tally = engine.run(asked, STRATEGY, out=out, concurrency=CONCURRENCY, show=show)
    assert (tally.finished, tally.failed) == (questions, 0), str(tally)
    return parts


def _live_nodes() -> Iterator[KVNode]:
    return (each for each in gc.get_objects() if isinstance(each, KVNode))
