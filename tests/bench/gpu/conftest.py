"""Stand-ins for a GPU: a clock, small shapes and small trees."""

from __future__ import annotations

import pytest
from marcot.kernels import reference
from support.kernels.gpu_samples import TINY, OnceClock

from bench.gpu.sections import head_times, kernel_times, linear_times, tree_times
from bench.gpu.trees import fan, layered, recorded


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> OnceClock:
    """Use the reference kernels, small shapes and small trees."""
    for module in (head_times, kernel_times, linear_times, tree_times):
        monkeypatch.setattr(module, "select", lambda *_: reference)
        monkeypatch.setattr(module, "SHAPES", (TINY,))
    for module in (head_times, kernel_times, linear_times):
        monkeypatch.setattr(module, "_ROWS", (1, 3))
    monkeypatch.setattr(
        tree_times, "measured_trees", lambda: [fan(1), fan(5), recorded()[0], layered((1, 3), (48, 32))]
    )
    return OnceClock()
