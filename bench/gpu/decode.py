"""Decoding on the GPU with and without CUDA graphs."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Sequence

import torch
from marcot.engine import Engine, Expansion, Node, Sampling

from ..common.prompt import random_ids
from .report import Check, DecodeTiming
from .section import Notebook, Task

BRANCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PREFIX_TOKENS = 512
NEW_TOKENS = 24
TOP_K = 20
KV_TOKENS = 65_536
"""Room for 256 branches, and for recorded trees."""

_WITH, _WITHOUT = "marcot, graphs", "marcot, no graphs"


def run(task: Task) -> None:
    """Time steps at every number of branches, first with graphs, then without."""
    engine = Engine.load(task.model, device=task.device, kv_tokens=KV_TOKENS)
    stepper = engine._scheduler._stepper
    if stepper._graphs is None:
        task.notebook.add(Check("decoding has no CUDA graphs", 1, 0, "a GPU is to have them"))
    with engine.prefill(random_ids(PREFIX_TOKENS)) as node:
        for name in (_WITH, _WITHOUT) if stepper._graphs is not None else (_WITHOUT,):
            if name == _WITHOUT:
                stepper._graphs = None
            for branches in BRANCHES:
                task.notebook.add(timed(engine, [node] * branches, name))
            if stepper._graphs is not None and not stepper._graphs.works:
                task.notebook.add(Check("recording CUDA graphs fails", 1, 0, "see what was said on stderr"))
    _compare(task.notebook)


def timed(engine: Engine, forks: Sequence[Node], name: str) -> DecodeTiming:
    """Draw `NEW_TOKENS` tokens behind each fork; only once everything is compiled and recorded does it count."""
    sampling = Sampling(temperature=1.0, top_k=TOP_K, top_p=1.0, max_tokens=NEW_TOKENS, ignore_eos=True)
    rounds = iter(range(3))

    def draw() -> None:
        first = next(rounds) * len(forks)
        expansions = [Expansion(fork, 1, sampling, first + row) for row, fork in enumerate(forks)]
        for [child] in engine.expand(expansions):
            child.release()

    draw()
    steps = _seconds_of_steps(engine, draw)
    wall, busy = statistics.median(steps), _busy_seconds(draw)
    return DecodeTiming(name, len(forks), wall, None if busy is None else max(wall - busy / len(steps), 0.0))


def _seconds_of_steps(engine: Engine, draw: Callable[[], None]) -> list[float]:
    """How long each step takes that runs the model; the first token is drawn without one.

    A step ends when its tokens are on the host, so that nothing of it is still under way.
    """
    scheduler, seconds = engine._scheduler, []
    step = scheduler.step

    def clocked() -> None:
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)

    scheduler.step = clocked  # type: ignore[method-assign]
    try:
        draw()
    finally:
        del scheduler.step
    return seconds[1:]


def _busy_seconds(draw: Callable[[], None]) -> float | None:
    """How long kernels and copies take on the GPU, without the time between them; None where nobody may count it."""
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            draw()
    except Exception:
        traceback.print_exc()
        return None
    microseconds = sum(event.self_device_time_total for event in profile.key_averages())
    return microseconds / 1e6 if microseconds else None


def _compare(notebook: Notebook) -> None:
    """Say what graphs gain."""
    timings = [one for one in notebook.findings if isinstance(one, DecodeTiming)]
    times = {(one.contestant, one.branches): one.step_s for one in timings}
    both = [rows for rows in BRANCHES if (_WITH, rows) in times and (_WITHOUT, rows) in times]
    if both:
        gains = (f"{rows}: {times[_WITHOUT, rows] / times[_WITH, rows]:.2f}x" for rows in both)
        notebook.note(f"what graphs gain, by branches: {', '.join(gains)}")
