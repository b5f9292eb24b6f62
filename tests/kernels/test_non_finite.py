"""Infinities and NaN: weights that contain them are refused; activations that do affect only their own row."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import pytest
import torch
from marcot.kernels import BlockTensor, Compute, Draw, Kernels, NonFiniteError
from marcot.kernels.errors import KernelArgumentError
from marcot.kernels.reference.quantize import quantize
from support.checkpoints.stored_weights import BLOCKS, FORMATS, MODE_IDS, MODES, random_weight
from support.kernels.forest import Forest, Query

CPU = torch.device("cpu")


def nan_of(payload: int) -> float:
    """A NaN with a payload, which arithmetic carries along."""
    value: float = struct.unpack("<f", struct.pack("<I", 0x7FC00000 | payload))[0]
    return value


BAD = (math.inf, -math.inf, math.nan, nan_of(1), nan_of(0x3FFFFF))

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy in Triton's interpreter


def numbers(ops: Kernels) -> Sequence[float]:
    """Numbers to put into rows; few in the interpreter, where every launch is slow."""
    return BAD[1:3] if ops.name == "triton" else BAD


@pytest.mark.parametrize("format", FORMATS)
def test_a_weight_is_refused(ops: Kernels, random: torch.Generator, format: str) -> None:
    sound = random_weight("F32", 5, 512, random)
    for bad in BAD[:3]:
        for place in BLOCKS[format].scales if format in BLOCKS else (0,):
            weight = random_weight(format, 19, 512, random)
            ops.pack_linear([sound, weight], torch.float32, CPU)
            if isinstance(weight, BlockTensor):
                at = weight.data.shape[1] - BLOCKS[format].bytes + place
                weight.data[18, at : at + 2] = torch.tensor([bad], dtype=torch.float16).view(torch.uint8)
            else:
                weight[18, 511] = bad
            with pytest.raises(NonFiniteError):
                ops.pack_linear([sound, weight], torch.float32, CPU)


@pytest.mark.parametrize(("format", "compute"), MODES, ids=MODE_IDS)
def test_a_product_keeps_to_its_row(ops: Kernels, random: torch.Generator, format: str, compute: Compute) -> None:
    """For one row and for many, which take different code paths."""
    packed = ops.pack_linear([random_weight(format, 21, 256, random)], torch.float32, CPU, compute)
    for rows in (1, 2, 7):
        x = torch.randn(rows, 256, generator=random)
        expected = ops.linear(x, packed)
        for bad in numbers(ops):
            x[-1, 101] = bad
            y = ops.linear(x, packed)
            assert not y[-1].isfinite().any()
            assert torch.equal(y[:-1], expected[:-1])


def test_a_block_with_one_is_zeros_with_a_scale_of_nan() -> None:
    for bad in BAD:
        x = torch.ones(2, 96)
        x[1, 40] = bad
        codes, scales = quantize(x)
        assert (codes[1, 32:64] == 0).all()
        assert scales[1].isnan().tolist() == [False, True, False]
        assert (codes[0] == 127).all()
        assert scales[0].isfinite().all()


def test_a_norm_keeps_to_its_row(ops: Kernels, random: torch.Generator) -> None:
    x, weight = torch.randn(3, 70, generator=random), torch.ones(70)
    expected, _ = ops.rms_norm(x, weight, 1e-6, None)
    for bad in numbers(ops):
        x[1, 69] = bad
        y, _ = ops.rms_norm(x, weight, 1e-6, None)
        assert not y[1, 69].isfinite()
        assert torch.equal(y[::2], expected[::2])


def test_swiglu_keeps_to_its_row(ops: Kernels, random: torch.Generator) -> None:
    gate, up = torch.randn(2, 3, 70, generator=random)
    for bad in numbers(ops):
        for x in (gate, up):
            x[1, 69] = bad
            y = ops.silu_mul(torch.cat((gate, up), dim=1))
            assert not y[1, 69].isfinite() or (x is gate and bad < 0)
            assert y[::2].isfinite().all()
            x[1, 69] = 1


@pytest.mark.parametrize("k", [1, 20])
def test_the_head_says_so_and_stays_in_the_vocabulary(ops: Kernels, random: torch.Generator, k: int) -> None:
    packed = ops.pack_linear([torch.randn(1003, 32, generator=random)], torch.float32, CPU)
    sound = torch.randn(4, 32, generator=random)
    some = torch.ones(4, dtype=torch.int64)
    # For a row without valid logits, Triton's interpreter draws from uninitialised memory, and it checks for overflow.
    asked = None if ops.name == "triton" else Draw(torch.tensor([0.0, 1.0, 1.0, 0.7]), some, some)
    expected = ops.lm_head_topk(sound, packed, k, some, asked).select(slice(0, 4, 3))
    for bad in numbers(ops):
        hidden = sound.clone()
        hidden[1] = bad
        hidden[2, 5] = bad
        head = ops.lm_head_topk(hidden, packed, k, some, asked)
        assert head.lse.isfinite().tolist() == [True, False, False, True]
        for part, other in zip(head.select(slice(0, 4, 3)), expected, strict=True):
            assert (part is other is None) or torch.equal(part, other)
        if ops.name == "cpu":
            assert head.drawn_ids is not None
            for ids in (head.top_ids, head.drawn_ids):
                assert 0 <= ids.min() <= ids.max() < 1003


def test_attention_keeps_to_the_path(compiled: Kernels) -> None:
    """Two branches below a node, one of which has a key or a value that is not finite."""
    forest = Forest(compiled, kv_heads=1, head_dim=16, seed=5, pages=8)
    for segment in ((37, 0, None), (5, 0, 0), (7, 0, 0)):
        forest.add(*segment)
    q, plan = forest.queries(2, 3), forest.plan([Query(1, 5, 1), Query(2, 7, 1)])
    expected = compiled.tree_attention(q, forest.k_pages, forest.v, plan, 0.3)
    page, slot = (at[-1] for at in forest.segments[2].places())
    for bad in BAD:
        for spoilt in (forest.k, forest.v):
            kept = spoilt[page, :, slot].clone()
            spoilt[page, :, slot] = bad
            out = compiled.tree_attention(q, forest.k_pages, forest.v, plan, 0.3)
            assert torch.equal(out[0], expected[0])
            assert bad in (math.inf, -math.inf) or out[1].isnan().any()
            spoilt[page, :, slot] = kept


@pytest.mark.parametrize("ids", [[-1], [37], [2**63 - 1], [-(2**63)], [0, 5, 1 << 40], [1] * 40 + [-1]], ids=str)
def test_a_token_outside_the_vocabulary(compiled: Kernels, random: torch.Generator, ids: list[int]) -> None:
    packed = compiled.pack_linear([torch.randn(37, 24, generator=random)], torch.float32, CPU)
    with pytest.raises(KernelArgumentError, match="vocabulary"):
        compiled.embed(torch.tensor(ids), packed)
