"""Decode steps of 1 to 256 branches, compared with the recorded step alone, and a profile of its kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from marcot.engine import Engine, Node

from ...common.prompt import random_ids
from ..cold_clock import replay_seconds
from ..engine_times import PREFIX_TOKENS, SHORT, BranchTimes
from ..findings import Check, DecodeTiming, ProfileRow
from ..replays import counted_replays, profiled
from ..section import Notebook, Task

BRANCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
KV_TOKENS = 65_536
"""Size of the KV pool in tokens: room for 256 branches."""

_PROFILED = (1, 64, 256)
_KERNELS = 12
"""Number of kernels in a profile, longest first."""

_REPLAYS = 20


def run(task: Task) -> None:
    """Time every model at every number of branches, largest first because the largest graph must be recorded first."""
    for model in task.models:
        engine = model.engine(task.device, KV_TOKENS)
        with engine.prefill(random_ids(PREFIX_TOKENS)) as node:
            for branches in reversed(BRANCHES):
                _time(task.notebook, engine, model.name, [node] * branches)
        if engine._scheduler._step_runner._graphs is None and task.device == "cuda":
            task.notebook.add(Check(f"{model.name}: decoding has no CUDA graphs", 1, 0, "a GPU must have them"))
        del engine
        torch.cuda.empty_cache()


def _time(notebook: Notebook, engine: Engine, model: str, forks: Sequence[Node]) -> None:
    times = BranchTimes(engine)
    times.draw(forks, SHORT)
    with counted_replays() as replays:
        step = times.step_seconds(forks)
    graph = _most_frequent(replays)
    if graph is None:
        notebook.add(DecodeTiming("marcot", model, len(forks), step))
        return
    shares = profiled(graph.replay)
    launches = sum(share.launches for share in shares)
    notebook.add(DecodeTiming("marcot", model, len(forks), step, replay_seconds(graph, _REPLAYS), launches))
    if len(forks) in _PROFILED:
        for share in shares[:_KERNELS]:
            notebook.add(ProfileRow(f"{model}, {len(forks)} branches", *share))


def _most_frequent(replays: Counter[torch.cuda.CUDAGraph]) -> torch.cuda.CUDAGraph | None:
    """The recorded step: the graph that is replayed once per token, hence most often."""
    return next((graph for graph, _ in replays.most_common(1)), None)
