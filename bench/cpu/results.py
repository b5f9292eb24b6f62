"""What `make bench-cpu` has measured so far."""

from __future__ import annotations

from typing import Literal, NamedTuple

Metric = Literal[
    "decode",
    "prefill",
    "bandwidth share",
    "GEMM share",
    "overhead",
    "peak memory",
    "weights to file",
    "load to first token",
    "start to first token",
    "tree",
    "tree apart",
    "tree gain",
    "tree growth",
]
"""What a number is, and what its `size` counts:

- decode: tokens/s; branches
- prefill: tokens/s; tokens of the prompt
- bandwidth share, GEMM share: bytes and operations per second of decode steps, over the machine's limits; branches
- overhead: share of decode steps that is spent outside of kernels; branches
- peak memory: bytes
- weights to file: bytes of packed weights over bytes of the file
- load to first token, start to first token: seconds, without and with the start of the process
- tree, tree apart: tokens/s on all leaves, as recorded and with nothing shared; number of the recorded tree
- tree gain: the ratio of the two; number of the recorded tree
- tree growth: the gain of the tree that shares most, over that of the tree that shares least
"""


class Measure(NamedTuple):
    """One number.

    Attributes:
        model: Name of the model.
        contestant: Name of the engine.
        metric: What was measured.
        size: Branches, tokens or the tree's number, see `Metric`; 0 where there is nothing to vary.
        value: Median over the rounds.
        rounds: How many rounds were timed.
        passes: Forward passes per round.
    """

    model: str
    contestant: str
    metric: Metric
    size: int
    value: float
    rounds: int = 1
    passes: int = 1


class Results:
    """Collects what a run has shown.

    Attributes:
        versions: Of every package that was measured.
        notes: Why something was not measured.
        disturbed: Tests during which other programs used the processors, and how many of them.
    """

    def __init__(self) -> None:
        self._measures: dict[tuple[str, str, Metric, int], Measure] = {}
        self.versions: dict[str, str] = {}
        self.notes: list[str] = []
        self.disturbed: dict[str, float] = {}

    @property
    def measures(self) -> list[Measure]:
        """All of them, in the order in which they came."""
        return list(self._measures.values())

    def add(self, measure: Measure) -> None:
        """Keep `measure`, in place of an earlier one of the same thing."""
        self._measures[measure[:4]] = measure

    def note(self, text: str) -> None:
        """Keep a line for below the tables, once."""
        if text not in self.notes:
            self.notes.append(text)

    def value(self, model: str, contestant: str, metric: Metric, size: int = 0) -> float | None:
        """The number, or None if it was not measured."""
        measure = self._measures.get((model, contestant, metric, size))
        return None if measure is None else measure.value

    def sizes(self, model: str, metric: Metric) -> list[int]:
        """The sizes at which anything was measured, ascending."""
        return sorted({m.size for m in self.measures if m.model == model and m.metric == metric})
