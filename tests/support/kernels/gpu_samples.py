"""A card, a clock, findings and a small model, for the tests of `make gpu-check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.gpu.card import Card
from bench.gpu.report import Check
from bench.gpu.sections.kernel_times import Shape

CARD = Card("NVIDIA H100 80GB HBM3", "sm_90", 132, 80 * 2**30, {"torch": "2.13.0"}, 3e12, 8e14)
RIGHT, WRONG = Check("near", 0.5, 1.0, "why"), Check("far", 2.0, 1.0, "why")
TINY = Shape("tiny", 64, 6, 2, 16, 32, 100)


class OnceClock:
    """Calls each function once and keeps its result. Every time it reports is longer than the one before: 1 ms, 2 ms
    and so on.
    """

    def __init__(self) -> None:
        self.results: list[Any] = []

    def seconds(self, call: Callable[[], object], calls: int = 1) -> float:
        self.results.append(call())
        return 1e-3 * len(self.results)
