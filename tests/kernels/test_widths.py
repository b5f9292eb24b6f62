"""The builds for other machines are what their names say."""

from __future__ import annotations

import kernel_sets
import pytest
from marcot.kernels.cpu import CpuKernels

WIDTHS = {"sse4": 16, "sse2": 16, "neon": 16, "64-bytes": 64, "sanitized-16-bytes": 16, "sanitized-64-bytes": 64}


@pytest.mark.parametrize("name", [name for name in kernel_sets.NAMES if name in WIDTHS])
def test_vectors_have_the_width_of_the_set(request: pytest.FixtureRequest, name: str) -> None:
    ops = kernel_sets.kernel_set(name, request.config.cache.mkdir("kernels"))
    assert isinstance(ops, CpuKernels)
    assert ops._library.call("width") == WIDTHS[name]
