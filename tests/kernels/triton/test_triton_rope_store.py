"""QKV bias, RoPE and the write of K and V on the GPU kernels, in every dtype, against fp64."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import HeadNorms, Kernels, KVScales
from marcot.kernels.triton.arch import INTERPRETED
from marcot.kernels.triton.rope_store import rope_store_variants
from support.kernels.interpreter_arithmetic import round_fp8
from torch import Tensor
from torch.nn.functional import rms_norm

PAGE_SIZE = 16
SLOTS = torch.tensor([3, -1, 67, 32, -1, 0, 79, 16])
ULP = {
    torch.float32: 4e-7,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
    torch.float8_e4m3fn: 2.0**-4,
    torch.float8_e5m2: 2.0**-3,
}
"""Largest relative error of rounding to nearest; for fp32 a few times that, because of the products."""

SMALLEST = {torch.float8_e4m3fn: 2.0**-10, torch.float8_e5m2: 2.0**-17}
"""Half the distance between 0 and the next number."""


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """`x` (`[rows, heads, head_dim]`) as complex numbers times `exp(i angles)`."""
    low, high = x.double().chunk(2, dim=-1)
    turned = torch.complex(low, high) * torch.polar(torch.ones_like(angles), angles)[:, None]
    return torch.cat((turned.real, turned.imag), dim=-1)


def check(
    ops: Kernels,
    device: torch.device,
    dtype: torch.dtype,
    heads: int,
    kv_heads: int,
    head_dim: int,
    with_bias: bool,
    fp8: torch.dtype | None = None,
    with_norms: bool = False,
) -> None:
    random = torch.Generator().manual_seed(heads)
    rows, stored = len(SLOTS), fp8 or dtype
    qkv = torch.randn(rows, (heads + 2 * kv_heads) * head_dim, generator=random).to(dtype)
    bias = torch.randn(qkv.shape[1], generator=random).to(dtype) if with_bias else None
    weights = torch.randn(2, head_dim, generator=random).to(dtype)
    norms = HeadNorms(*weights.to(device), 1e-3) if with_norms else None
    angles = torch.randn(rows, head_dim // 2, generator=random).double() * 9
    pages = [torch.full((5, kv_heads, PAGE_SIZE, head_dim), torch.nan).to(stored).to(device) for _ in range(2)]
    scales = KVScales(*(torch.rand(2, kv_heads, generator=random) + 0.1)) if fp8 else None
    q = ops.rope_store(
        qkv.to(device),
        None if bias is None else bias.to(device),
        *(f.float().to(device) for f in (angles.cos(), angles.sin())),
        SLOTS.to(device),
        *pages,
        scales and KVScales(*(scale.to(device) for scale in scales)),
        norms,
    )
    assert (q.dtype, q.shape) == (dtype, (rows, heads, head_dim))

    x = (qkv.double() if bias is None else qkv.double() + bias.double()).view(rows, -1, head_dim)
    q_exact, k, v = x.tensor_split((heads, heads + kv_heads), dim=1)
    if with_norms:
        q_exact, k = (
            rms_norm(part, (head_dim,), weight.double(), 1e-3)
            for part, weight in zip((q_exact, k), weights, strict=True)
        )
    near = {"atol": 2e-6, "rtol": 1.05 * ULP[dtype]}
    torch.testing.assert_close(q.cpu().double(), rotated(q_exact, angles), **near)
    near = {"atol": SMALLEST.get(stored, 2e-6), "rtol": 1.05 * ULP[stored]}
    kept = SLOTS >= 0
    divisors = scales or KVScales(*torch.ones(2, kv_heads))
    for found, exact, scale in zip(pages, (rotated(k, angles), v), divisors, strict=True):
        by_slot = found.cpu().float().transpose(1, 2).flatten(0, 1)
        expected = exact / scale.double()[:, None]
        torch.testing.assert_close(by_slot[SLOTS[kept]].double(), expected[kept], **near)
        others = torch.ones(len(by_slot), dtype=torch.bool)
        others[SLOTS[kept]] = False
        assert by_slot[others].isnan().all(), "nothing else was written"


@pytest.mark.parametrize("with_bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("head_dim", [4, 40, 64, 128])
@pytest.mark.parametrize(("heads", "kv_heads"), [(7, 1), (28, 4)])
def test_every_dtype(
    triton_ops: Kernels,
    device: torch.device,
    dtypes: tuple[torch.dtype, ...],
    heads: int,
    kv_heads: int,
    head_dim: int,
    with_bias: bool,
) -> None:
    for dtype in dtypes:
        check(triton_ops, device, dtype, heads, kv_heads, head_dim, with_bias)


@pytest.mark.parametrize("with_bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("head_dim", [4, 40, 128])
def test_norms_of_heads(
    triton_ops: Kernels, device: torch.device, dtypes: tuple[torch.dtype, ...], head_dim: int, with_bias: bool
) -> None:
    for dtype in dtypes:
        check(triton_ops, device, dtype, 9, 3, head_dim, with_bias, with_norms=True)


@pytest.mark.parametrize("pages", [torch.float8_e4m3fn, torch.float8_e5m2], ids=["e4m3", "e5m2"])
def test_pages_in_fp8(
    triton_ops: Kernels,
    device: torch.device,
    dtypes: tuple[torch.dtype, ...],
    monkeypatch: pytest.MonkeyPatch,
    pages: torch.dtype,
) -> None:
    round_fp8(monkeypatch)
    for dtype in dtypes:
        check(triton_ops, device, dtype, 6, 2, 24, True, pages)


@pytest.mark.parametrize("pages", [torch.float8_e4m3fn, torch.float8_e5m2], ids=["e4m3", "e5m2"])
def test_what_is_too_large_for_fp8(triton_ops: Kernels, device: torch.device, pages: torch.dtype) -> None:
    """It becomes the largest finite number, not infinity or NaN."""
    qkv = torch.tensor([[1.0, 1.0, 3.0, -3.0, 3.0, -3.0]], device=device) * 1e6
    k, v = (torch.zeros(1, 1, PAGE_SIZE, 2, device=device).to(pages) for _ in range(2))
    ones, zeros = torch.ones(1, 1, device=device), torch.zeros(1, 1, device=device)
    scales = KVScales(torch.full((1,), 2.0, device=device), torch.full((1,), 0.5, device=device))
    triton_ops.rope_store(qkv, None, ones, zeros, torch.tensor([5], device=device), k, v, scales)
    largest = torch.finfo(pages).max
    for found in (k, v):
        assert found[0, 0, 5].float().tolist() == [largest, -largest]


def test_no_rows(triton_ops: Kernels, device: torch.device) -> None:
    pages = torch.zeros(1, 1, PAGE_SIZE, 8, device=device)
    angles = torch.zeros(0, 4, device=device)
    slots = torch.zeros(0, dtype=torch.int64, device=device)
    q = triton_ops.rope_store(torch.zeros(0, 40, device=device), None, angles, angles, slots, pages, pages.clone())
    assert q.shape == (0, 3, 8)


def test_variants_have_every_argument() -> None:
    for variant in rope_store_variants(INTERPRETED):
        assert not set(variant.signature) & set(variant.constants)
        assert set(variant.signature) | set(variant.constants) == set(variant.kernel.arg_names)
        assert set(variant.aligned) <= set(variant.signature)
