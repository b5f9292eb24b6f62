"""What stands for a GPU's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gpu_samples import TINY
from marcot.kernels import reference

from bench.gpu import kernel_times, peers


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls what is timed once; returns the list of all results. Kernels are the reference, shapes are small."""
    results: list[Any] = []

    def once(run: Callable[[], object]) -> float:
        results.append(run())
        return 1e-3

    for module in (kernel_times, peers):
        monkeypatch.setattr(module, "median_seconds", once)
        monkeypatch.setattr(module, "select", lambda *_: reference)
        monkeypatch.setattr(module, "SHAPES", (TINY,))
    monkeypatch.setattr(kernel_times, "_ROWS", (1, 3))
    return results
