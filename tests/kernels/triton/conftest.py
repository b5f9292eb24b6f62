"""The device of the GPU kernel tests, and its number formats."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import Kernels
from marcot.kernels.triton import load
from support.kernels import triton_device


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The CPU, where Triton interprets kernels, or the GPU that `MARCOT_TEST_DEVICE` names."""
    return torch.device(triton_device.DEVICE)


@pytest.fixture(scope="session")
def dtypes(device: torch.device) -> tuple[torch.dtype, ...]:
    """The dtypes that kernels are tested in; the interpreter multiplies bfloat16 wrongly."""
    return (torch.float32, torch.float16, *((torch.bfloat16,) if device.type != "cpu" else ()))


@pytest.fixture(scope="session")
def triton_ops(device: torch.device) -> Kernels:
    """The Triton kernels on `device`; their tensors are there."""
    return load(device)
