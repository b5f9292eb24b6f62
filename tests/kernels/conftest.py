"""The kernel sets that tests run on, and poisoned memory."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import Kernels
from support.kernels import kernel_sets


@pytest.fixture(scope="session", params=kernel_sets.NAMES)
def ops(request: pytest.FixtureRequest) -> Kernels:
    """Every kernel set, one after the other."""
    return kernel_sets.kernel_set(request.param, request.config.cache.mkdir("kernels"))


@pytest.fixture(scope="session", params=kernel_sets.COMPILED)
def compiled(request: pytest.FixtureRequest) -> Kernels:
    """Every set that promises bit-identity."""
    return kernel_sets.kernel_set(request.param, request.config.cache.mkdir("kernels"))


@pytest.fixture(scope="session", params=kernel_sets.FAST)
def fast_ops(request: pytest.FixtureRequest) -> Kernels:
    """Every set that is fast enough for large sizes."""
    return kernel_sets.kernel_set(request.param, request.config.cache.mkdir("kernels"))


@pytest.fixture(autouse=True)
def _poisoned(poison: None) -> None:
    """Poison fresh memory in every test of a kernel."""


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(7)
