"""Each op of every kernel set against an independent formula, in NaN-poisoned memory."""

from __future__ import annotations

import pytest
import torch
from kernel_sets import tokens_of_keys
from marcot.kernels import BlockTensor, Draw, Kernels
from marcot.kernels.reference.philox import gumbel
from torch import Tensor
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

CPU = torch.device("cpu")
TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.mark.parametrize("rows", [1, 2, 7, 33])
def test_linear_stacks_parts_of_different_formats(ops: Kernels, random: torch.Generator, rows: int) -> None:
    gguf = pytest.importorskip("gguf")
    dense = torch.randn(13, 96, generator=random)
    half = torch.randn(5, 96, generator=random).to(torch.bfloat16)
    quantised = gguf.quants.quantize(torch.randn(9, 96, generator=random).numpy(), gguf.GGMLQuantizationType.Q8_0)
    blocks = BlockTensor(torch.from_numpy(quantised), "Q8_0", 96)
    whole = torch.cat(
        (dense, half.float(), torch.from_numpy(gguf.quants.dequantize(quantised, gguf.GGMLQuantizationType.Q8_0)))
    )
    weight = ops.pack_linear([dense, half, blocks], torch.float32, CPU)
    x = torch.randn(rows, 96, generator=random)
    assert (weight.out_features, weight.in_features) == (27, 96)
    torch.testing.assert_close(ops.linear(x, weight), torch.einsum("rk,nk->rn", x, whole), **TOLERANCE)
    ids = torch.tensor([26, 0, 14, 14])
    torch.testing.assert_close(ops.embed(ids, weight), whole[ids], **TOLERANCE)


@pytest.mark.parametrize("with_residual", [False, True], ids=["alone", "residual"])
@pytest.mark.parametrize("width", [1, 63, 896])
def test_rms_norm(ops: Kernels, random: torch.Generator, width: int, with_residual: bool) -> None:
    x, residual = torch.randn(2, 5, width, generator=random)
    weight = torch.rand(width, generator=random) + 0.5
    y, h = ops.rms_norm(x, weight, 1e-6, residual if with_residual else None)
    expected = x + residual if with_residual else x
    torch.testing.assert_close(h, expected, **TOLERANCE)
    torch.testing.assert_close(y, torch.nn.functional.rms_norm(expected, (width,), weight, 1e-6), **TOLERANCE)


def test_silu_mul(ops: Kernels, random: torch.Generator) -> None:
    gate, up = torch.randn(2, 5, 37, generator=random)
    torch.testing.assert_close(ops.silu_mul(torch.cat((gate, up), dim=1)), gate / (1 + (-gate).exp()) * up, **TOLERANCE)


@pytest.mark.parametrize("with_bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize(("heads", "kv_heads"), [(7, 1), (12, 2), (9, 3), (4, 4)])
def test_rope_store(ops: Kernels, random: torch.Generator, heads: int, kv_heads: int, with_bias: bool) -> None:
    rows, head_dim, page_size = 6, 16, 16
    qkv = torch.randn(rows, (heads + 2 * kv_heads) * head_dim, generator=random)
    bias = torch.randn(qkv.shape[1], generator=random) if with_bias else None
    angles = torch.randn(rows, head_dim // 2, generator=random)
    slots = torch.tensor([3, -1, 67, 32, -1, 0])
    k_pages, v_pages = torch.full((2, 5, kv_heads, page_size, head_dim), torch.nan)
    q = ops.rope_store(qkv, bias, angles.cos(), angles.sin(), slots, k_pages, v_pages)
    k_pages = tokens_of_keys(ops, k_pages)

    full = qkv if bias is None else qkv + bias
    expected = full.view(rows, -1, head_dim).transpose(0, 1)[None]
    cos, sin = (torch.cat((f, f), dim=-1)[None] for f in (angles.cos(), angles.sin()))
    q_expected, k_expected = apply_rotary_pos_emb(expected[:, :heads], expected[:, heads : heads + kv_heads], cos, sin)
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


def dense_head(hidden: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("rk,vk->rv", hidden.double(), weight.double())


@pytest.mark.parametrize("vocab", [64, 1003, 49_152])
@pytest.mark.parametrize("k", [1, 5, 64])
def test_lm_head_topk(ops: Kernels, random: torch.Generator, vocab: int, k: int) -> None:
    rows = 5
    hidden, weight = torch.randn(rows, 24, generator=random), torch.randn(vocab, 24, generator=random)
    targets = torch.randint(0, vocab, (rows,), generator=random)
    temperature = torch.tensor([1.0, 0.0, 0.3, 2.0, 1.0])
    key, position = torch.tensor([1, 2, -(2**60), 4, 1]), torch.tensor([0, 1, 2, 131_071, 7])
    head = ops.lm_head_topk(
        hidden, ops.pack_linear([weight], torch.float32, CPU), k, targets, Draw(temperature, key, position)
    )
    logits = dense_head(hidden, weight)
    expected = logits.topk(k, dim=-1)
    torch.testing.assert_close(head.top_logits.double(), expected.values, **TOLERANCE)
    torch.testing.assert_close(logits.gather(1, head.top_ids), expected.values, **TOLERANCE)
    torch.testing.assert_close(head.lse.double(), logits.logsumexp(dim=-1), **TOLERANCE)
    assert head.target_logits is not None
    assert head.drawn_ids is not None
    assert head.drawn_logits is not None
    assert head.scaled_lse is not None
    torch.testing.assert_close(head.target_logits.double(), logits.gather(1, targets[:, None])[:, 0], **TOLERANCE)
    for row in (0, 2, 3, 4):
        scaled = logits[row] / temperature[row].double()
        score = scaled + gumbel(key[row : row + 1], position[row : row + 1], torch.arange(vocab)[None])[0].double()
        drawn = int(head.drawn_ids[row])
        assert score[drawn] > score.max() - 1e-4
        torch.testing.assert_close(head.drawn_logits[row].double(), logits[row, drawn], **TOLERANCE)
        torch.testing.assert_close(head.scaled_lse[row].double(), scaled.logsumexp(dim=-1), **TOLERANCE)


def test_lm_head_topk_returns_only_what_is_asked_for(ops: Kernels, random: torch.Generator) -> None:
    weight = ops.pack_linear([torch.randn(10, 4, generator=random)], torch.float32, CPU)
    head = ops.lm_head_topk(torch.randn(2, 4, generator=random), weight, 3)
    assert head.top_ids.shape == (2, 3)
    assert (head.target_logits, head.drawn_ids, head.drawn_logits, head.scaled_lse) == (None,) * 4
