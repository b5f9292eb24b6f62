"""The measurements of `make bench-cpu`."""

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
"""The kinds of measurements. For each, the unit of the value, then what its `size` means:

- decode: tokens/s; branches
- prefill: tokens/s; tokens of the prompt
- bandwidth share, GEMM share: bytes and operations per second of decode steps, over the machine's limits; branches
- overhead: fraction of the time of decode steps that is spent outside of kernels; branches
- peak memory: bytes
- weights to file: bytes of packed weights divided by bytes of the file
- load to first token, start to first token: seconds, from `Engine.load` and from the start of the process
- tree, tree apart: tokens/s on all leaves, as recorded and with nothing shared; number of the recorded tree
- tree gain: tree divided by tree apart; number of the recorded tree
- tree growth: the gain of the tree that shares most, divided by that of the tree that shares least
"""


class Measure(NamedTuple):
    """One measured number.

    Attributes:
        model: Name of the model.
        contestant: Name of the engine.
        metric: What was measured.
        size: Branches, tokens or number of the tree, see `Metric`; 0 for metrics without a size.
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
    """Collects the measurements of a run.

    Attributes:
        versions: Versions of all packages that were measured.
        notes: Reasons why something was not measured.
        disturbed: Tests during which other programs used the processors, with the number of processors used.
    """

    def __init__(self) -> None:
        self._measures: dict[tuple[str, str, Metric, int], Measure] = {}
        self.versions: dict[str, str] = {}
        self.notes: list[str] = []
        self.disturbed: dict[str, float] = {}

    @property
    def measures(self) -> list[Measure]:
        """All measurements, in the order in which they were first added."""
        return list(self._measures.values())

    def add(self, measure: Measure) -> None:
        """Add `measure`, replacing an earlier one of the same model, contestant, metric and size."""
        self._measures[measure[:4]] = measure

    def note(self, text: str) -> None:
        """Add a note to print below the tables, unless it is there already."""
        if text not in self.notes:
            self.notes.append(text)

    def value(self, model: str, contestant: str, metric: Metric, size: int = 0) -> float | None:
        """Return the measured number, or None if there is none."""
        measure = self._measures.get((model, contestant, metric, size))
        return None if measure is None else measure.value

    def sizes(self, model: str, metric: Metric) -> list[int]:
        """Return the sizes at which any engine was measured, ascending."""
        return sorted({m.size for m in self.measures if m.model == model and m.metric == metric})
