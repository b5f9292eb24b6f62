"""The bars of `make bench-cpu`: speeds, sizes and ratios that a run must reach.

Bars relative to batched-bench were set for that of ik_llama.cpp, the fastest CPU engine known, with `-rtr -fa on`. They
are applied to any other build of the program too.
"""

from __future__ import annotations

from typing import NamedTuple

from .lineup import BATCHED_BENCH, EXACT, FAST, LARGE, LLAMA_CPP, MIDDLE, OPENVINO, SMALL
from .results import Metric, Results


class Bar(NamedTuple):
    """A minimum or maximum for a number, or for its ratio to another engine's number in the same run.

    Attributes:
        name: Description.
        model: Name of the model.
        contestant: The engine whose number it is.
        metric: Which number.
        sizes: Sizes, see `Metric`; the bar must hold at every one.
        least: Minimum; None if there is none.
        most: Maximum; None if there is none.
        baseline: The engine whose number is the divisor; a run that did not measure it cannot judge the bar.
    """

    name: str
    model: str
    contestant: str
    metric: Metric
    sizes: tuple[int, ...] = (0,)
    least: float | None = None
    most: float | None = None
    baseline: str | None = None


BARS = (
    Bar("fast, few branches, to llama.cpp", MIDDLE, FAST, "decode", (1, 2, 4), 1.5, baseline=LLAMA_CPP),
    Bar("fast, 8 and 16 branches, to batched-bench", MIDDLE, FAST, "decode", (8, 16), 1.15, baseline=BATCHED_BENCH),
    Bar("fast, 32 and 64 branches, to batched-bench", MIDDLE, FAST, "decode", (32, 64), 1.3, baseline=BATCHED_BENCH),
    Bar("fast prefill, to batched-bench", MIDDLE, FAST, "prefill", (512, 2048), 1.0, baseline=BATCHED_BENCH),
    Bar("fast, many branches, to llama.cpp", LARGE, FAST, "decode", (8, 16, 32, 64), 2.5, baseline=LLAMA_CPP),
    Bar("fast, many branches, to llama.cpp", SMALL, FAST, "decode", (8, 16, 32, 64), 2.5, baseline=LLAMA_CPP),
    Bar("exact, 8 branches, to llama.cpp", MIDDLE, EXACT, "decode", (8,), 1.4, baseline=LLAMA_CPP),
    Bar("exact, 16 branches, to llama.cpp", MIDDLE, EXACT, "decode", (16,), 1.7, baseline=LLAMA_CPP),
    Bar("exact, 32 and 64 branches, to llama.cpp", MIDDLE, EXACT, "decode", (32, 64), 1.9, baseline=LLAMA_CPP),
    Bar("exact, 32 and 64 branches, to OpenVINO", MIDDLE, EXACT, "decode", (32, 64), 1.45, baseline=OPENVINO),
    Bar("exact, a whole step, of the GEMM peak", MIDDLE, EXACT, "GEMM share", (32,), 0.8),
    Bar("Python's share of a step", MIDDLE, FAST, "overhead", (16,), most=0.05),
    Bar("packed weights, to the file", SMALL, FAST, "weights to file", most=1.15),
    Bar("packed weights, to the file", MIDDLE, FAST, "weights to file", most=1.15),
    Bar("packed weights, to the file", LARGE, FAST, "weights to file", most=1.15),
    Bar("seconds from load to the first token", MIDDLE, FAST, "load to first token", most=3.0),
    Bar("a recorded tree, to the same paths apart", MIDDLE, FAST, "tree gain", (0, 1, 2, 3), 1.0),
    Bar("gain of the most shared tree, to the least shared", MIDDLE, FAST, "tree growth", least=1.0),
)
"""Bars that must hold; with `--check`, a missed one fails the run."""

GOALS = (
    Bar("fast, one branch, to batched-bench", MIDDLE, FAST, "decode", (1,), 1.0, baseline=BATCHED_BENCH),
    Bar("fast, many branches, to batched-bench", MIDDLE, FAST, "decode", (8, 16, 32, 64), 1.5, baseline=BATCHED_BENCH),
    Bar("fast prefill, to batched-bench", MIDDLE, FAST, "prefill", (512, 2048), 1.2, baseline=BATCHED_BENCH),
)
"""More ambitious bars: shown, but missing one is never a failure."""


class Verdict(NamedTuple):
    """The result of a run for a bar at one size.

    Attributes:
        bar: The bar.
        size: One of its sizes.
        value: The number or ratio; None if this run did not measure it.
    """

    bar: Bar
    size: int
    value: float | None

    @property
    def missed(self) -> bool:
        """Whether the value was measured and is below the minimum or above the maximum."""
        if self.value is None:
            return False
        low, high = self.bar.least, self.bar.most
        return (low is not None and self.value < low) or (high is not None and self.value > high)


def judge(bars: tuple[Bar, ...], results: Results) -> list[Verdict]:
    """Compare `results` with `bars`; one verdict per bar and size."""
    verdicts = []
    for bar in bars:
        for size in bar.sizes:
            value = results.value(bar.model, bar.contestant, bar.metric, size)
            if bar.baseline is not None and value is not None:
                base = results.value(bar.model, bar.baseline, bar.metric, size)
                value = None if base is None else value / base
            verdicts.append(Verdict(bar, size, value))
    return verdicts
