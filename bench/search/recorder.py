"""Records the expansions of real searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from marcot.engine import MCTS
from marcot.engine.search.protocol import Wave

from .schedule import Branch, Schedule

if TYPE_CHECKING:
    from marcot.engine.search.protocol import Search, Task


class Recorder:
    """A strategy that searches like another one and records what it asks for.

    Attributes:
        schedules: What was recorded, by the index of the question.
    """

    def __init__(self, strategy: MCTS) -> None:
        """Search with `strategy`."""
        self.schedules: dict[int, Schedule] = {}
        self.sampling = strategy.sampling
        self._strategy = strategy

    def search(self, task: Task) -> Search:
        """Search `task`, and record it."""
        prompt = task.prompt.path_ids
        schedule = self.schedules[task.index] = Schedule(prompt, [])
        chains: list[list[int]] = []
        search = self._strategy.search(task)
        waves = 0
        try:
            wave = next(search)
            while True:
                assert isinstance(wave, Wave), "the value is not slow"
                assert wave.window is None, "it waits for all of a wave"
                forks = [expansion.node.path_ids for expansion in wave.expansions]
                answers = yield wave
                for fork, expansion, samples in zip(forks, wave.expansions, answers, strict=True):
                    assert expansion.n == len(samples)
                    for sample in samples:
                        drawn = sample.token_ids.tolist()
                        parent = _owner(chains, fork, len(prompt))
                        schedule.branches.append(Branch(waves, parent, len(fork) - len(prompt), len(drawn)))
                        chains.append([*fork, *drawn])
                waves += 1
                wave = search.send(answers)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def _owner(chains: Sequence[list[int]], fork: list[int], prompt: int) -> int | None:
    """Return the index of the first chain that begins with `fork`; None if `fork` is the prompt."""
    if len(fork) == prompt:
        return None
    return next(index for index, chain in enumerate(chains) if chain[: len(fork)] == fork)
