"""Each op of every kernel set against an independent formula, in NaN-poisoned memory."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import HeadNorms, Kernels
from support.kernels.kernel_sets import tokens_of_keys
from torch.nn.functional import rms_norm
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.mark.parametrize("with_residual", [False, True], ids=["alone", "residual"])
@pytest.mark.parametrize("width", [1, 7, 8, 16, 31, 63, 65, 896])
def test_rms_norm(ops: Kernels, random: torch.Generator, width: int, with_residual: bool) -> None:
    weight = torch.rand(width, generator=random) + 0.5
    for rows in (0, 1, 5, 37):
        x, residual = torch.randn(2, rows, width, generator=random)
        y, h = ops.rms_norm(x, weight, 1e-6, residual if with_residual else None)
        expected = x + residual if with_residual else x
        assert torch.equal(h, expected)
        torch.testing.assert_close(y, rms_norm(expected, (width,), weight, 1e-6), **TOLERANCE)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-3, 1e15], ids=str)
def test_rms_norm_of_any_size(ops: Kernels, random: torch.Generator, size: float) -> None:
    x, weight = torch.randn(3, 100, generator=random) * size, torch.randn(100, generator=random)
    y, _ = ops.rms_norm(x, weight, 1e-6, None)
    expected = rms_norm(x.double(), (100,), weight.double(), 1e-6)
    torch.testing.assert_close(y.double(), expected, **TOLERANCE)


@pytest.mark.parametrize("width", [1, 7, 8, 37, 255, 256, 257, 1100])
def test_silu_mul(ops: Kernels, random: torch.Generator, width: int) -> None:
    for rows in (0, 1, 5, 37):
        gate, up = torch.randn(2, rows, width, generator=random).double()
        y = ops.silu_mul(torch.cat((gate, up), dim=1).float())
        torch.testing.assert_close(y.double(), gate / (1 + (-gate).exp()) * up, **TOLERANCE)


def test_silu_mul_of_any_size(ops: Kernels) -> None:
    gate = torch.tensor([0.0, -0.0, 1e-40, -1e-20, 1e-3, 30, -30, 87, -87, 88, -88, 89, -89, 1e6, -1e6, -1e30, -3e38])
    up = torch.linspace(-3, 3, len(gate))
    y = ops.silu_mul(torch.cat((gate, up))[None])[0].double()
    expected = (gate.double() * gate.double().sigmoid()) * up.double()
    relative = torch.full_like(expected, 1e-6)
    if ops.name == "triton":
        # A GPU computes exp(x) as 2 to the power x log2(e), rounded to fp32: a relative error of |x| / 2²⁴.
        relative += gate.double().abs() * 2.0**-24
    assert ((y - expected).abs() <= 1e-30 + relative * expected.abs()).all()


@pytest.mark.parametrize("with_norms", [False, True], ids=["no-norms", "norms"])
@pytest.mark.parametrize("with_bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("head_dim", [8, 16, 32, 64, 80, 128])
@pytest.mark.parametrize(("heads", "kv_heads"), [(7, 1), (12, 2), (9, 3), (4, 4)])
def test_rope_store(
    ops: Kernels, random: torch.Generator, heads: int, kv_heads: int, head_dim: int, with_bias: bool, with_norms: bool
) -> None:
    rows, page_size = 12, 16
    qkv = torch.randn(rows, (heads + 2 * kv_heads) * head_dim, generator=random)
    bias = torch.randn(qkv.shape[1], generator=random) if with_bias else None
    angles = torch.randn(rows, head_dim // 2, generator=random)
    slots = torch.tensor([3, -1, 67, 32, -1, 0, 79, 16, 31, 50, -1, 15])
    k_pages, v_pages = torch.full((2, 5, kv_heads, page_size, head_dim), torch.nan)
    norms = HeadNorms(*torch.randn(2, head_dim, generator=random), 1e-3) if with_norms else None
    q = ops.rope_store(qkv, bias, angles.cos(), angles.sin(), slots, k_pages, v_pages, None, norms)
    k_pages = tokens_of_keys(ops, k_pages)

    full = qkv if bias is None else qkv + bias
    expected = full.view(rows, -1, head_dim).transpose(0, 1)[None]
    cos, sin = (torch.cat((f, f), dim=-1)[None] for f in (angles.cos(), angles.sin()))
    q_part, k_part = expected[:, :heads], expected[:, heads : heads + kv_heads]
    if norms is not None:
        q_part, k_part = (rms_norm(x, (head_dim,), w, norms.eps) for x, w in ((q_part, norms.q), (k_part, norms.k)))
    q_expected, k_expected = apply_rotary_pos_emb(q_part, k_part, cos, sin)
    torch.testing.assert_close(q, q_expected[0].transpose(0, 1), **TOLERANCE)
    written = torch.zeros(5 * page_size, dtype=torch.bool)
    for row, slot in enumerate(slots.tolist()):
        if slot < 0:
            continue
        written[slot] = True
        place = (slot // page_size, slice(None), slot % page_size)
        torch.testing.assert_close(k_pages[place], k_expected[0, :, row], **TOLERANCE)
        torch.testing.assert_close(v_pages[place], expected[0, heads + kv_heads :, row], **TOLERANCE)
    for pages in (k_pages, v_pages):
        assert pages.transpose(1, 2).flatten(0, 1)[~written].isnan().all(), "nothing else was written"
