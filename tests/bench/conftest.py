"""What stands for a GPU's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gpu_kernels
import gpu_peers
import pytest
from gpu_samples import TINY
from marcot.kernels import reference


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls what is timed once; returns the list of all results. Kernels are the reference, shapes are small."""
    results: list[Any] = []

    def once(run: Callable[[], object]) -> float:
        results.append(run())
        return 1e-3

    for module in (gpu_kernels, gpu_peers):
        monkeypatch.setattr(module, "median_seconds", once)
        monkeypatch.setattr(module, "select", lambda *_: reference)
        monkeypatch.setattr(module, "SHAPES", (TINY,))
    monkeypatch.setattr(gpu_kernels, "_ROWS", (1, 3))
    return results
