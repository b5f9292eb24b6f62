"""RMSNorm and SwiGLU's product on the GPU kernels, in every dtype, against fp64."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import Kernels, reference
from marcot.kernels.triton.arch import INTERPRETED
from marcot.kernels.triton.rms_norm import rms_norm_variants
from marcot.kernels.triton.silu_mul import silu_mul_variants
from torch import Tensor

ULP = {torch.float32: 1e-6, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
"""Relative distance of neighbouring numbers; for fp32 a few times that."""


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(23)


def normed(h: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = h.double()
    return wide / (wide.square().mean(dim=-1, keepdim=True) + eps).sqrt() * weight.double()


@pytest.mark.parametrize("with_residual", [False, True], ids=["alone", "residual"])
@pytest.mark.parametrize("width", [1, 24, 576, 896, 3584])
def test_rms_norm(
    triton_ops: Kernels,
    device: torch.device,
    dtypes: tuple[torch.dtype, ...],
    random: torch.Generator,
    width: int,
    with_residual: bool,
) -> None:
    for dtype in dtypes:
        x, residual = (torch.randn(2, 43, width, generator=random) * 3).to(device, dtype)
        weight = torch.randn(width, generator=random).to(device, dtype)
        y, h = triton_ops.rms_norm(x, weight, 1e-6, residual if with_residual else None)
        assert (y.dtype, h.dtype) == (dtype, dtype)
        assert torch.equal(h, x + residual if with_residual else x)
        # Rounded before and after the multiplication by the weight.
        torch.testing.assert_close(y.double(), normed(h, weight, 1e-6), atol=1e-7, rtol=1.1 * ULP[dtype])
        expected, _ = reference.rms_norm(x, weight, 1e-6, residual if with_residual else None)
        assert (y == expected).double().mean() > 0.99 or dtype == torch.float32


def test_rms_norm_of_rows_in_a_wider_matrix(triton_ops: Kernels, device: torch.device, random: torch.Generator) -> None:
    """Also with every second column, which the kernel reads from a copy."""
    whole = torch.randn(9, 200, generator=random).to(device)
    weight = torch.ones(80, device=device)
    for x in (whole[:, 7:87], whole[:, 1:161:2], whole[::2, :80]):
        residual = whole[: len(x), 100:180]
        y, h = triton_ops.rms_norm(x, weight, 1e-5, residual)
        torch.testing.assert_close(h, x + residual)
        torch.testing.assert_close(y.double(), normed(x + residual, weight, 1e-5), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("width", [3, 40, 1024, 1536, 4865])
def test_silu_mul(
    triton_ops: Kernels, device: torch.device, dtypes: tuple[torch.dtype, ...], random: torch.Generator, width: int
) -> None:
    for dtype in dtypes:
        gate_up = (torch.randn(11, 2 * width, generator=random) * 4).to(device, dtype)
        gate, up = gate_up.double().chunk(2, dim=1)
        y = triton_ops.silu_mul(gate_up)
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), gate * gate.sigmoid() * up, atol=1e-7, rtol=0.51 * ULP[dtype])
        assert torch.equal(triton_ops.silu_mul(gate_up.repeat(1, 2)[:, : 2 * width]), y)


def test_variants_have_every_argument() -> None:
    for variant in (*rms_norm_variants(INTERPRETED), *silu_mul_variants(INTERPRETED)):
        assert not set(variant.signature) & set(variant.constants)
        assert set(variant.signature) | set(variant.constants) == set(variant.kernel.arg_names)
        assert set(variant.aligned) <= set(variant.signature)
