"""The fast mode: its specification against integer arithmetic, and every kernel set against it, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from marcot.kernels import BlockTensor, Kernels, reference
from marcot.kernels.reference.quantize import BLOCK, SMALLEST, quantize, round_trip
from support.checkpoints.stored_weights import BLOCKS, integer_weight, values

CPU = torch.device("cpu")
TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def blocks(rows: int, columns: int, random: torch.Generator) -> BlockTensor:
    values = torch.randn(rows, columns, generator=random).numpy()
    return BlockTensor(torch.from_numpy(gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)), "Q8_0", columns)


def test_a_value_is_off_by_half_a_step_at_most(random: torch.Generator) -> None:
    x = torch.randn(7, 160, generator=random) * 10 ** torch.linspace(-20, 20, 7)[:, None]
    x[3, 32:64] = 0
    codes, scales = quantize(x)
    assert codes.dtype == torch.int8
    assert scales.shape == (7, 160 // BLOCK)
    assert codes.min() >= -127
    largest = x.unflatten(1, (-1, BLOCK)).abs().amax(dim=-1)
    torch.testing.assert_close(scales, largest / 127)
    off = (round_trip(x) - x).unflatten(1, (-1, BLOCK)).abs().amax(dim=-1)
    assert (off <= scales * 0.5001).all()
    assert (round_trip(x)[3, 32:64] == 0).all()


def test_a_fast_product_is_a_sum_of_integer_products(random: torch.Generator) -> None:
    weight, x = blocks(9, 96, random), torch.randn(5, 96, generator=random)
    raw = weight.data.numpy().reshape(9, 3, 34)
    scales = raw[..., :2].copy().view(np.float16)[..., 0].astype(np.float64)
    integers = raw[..., 2:].copy().view(np.int8).astype(np.int64)
    codes, x_scales = quantize(x)
    x_integers = codes.numpy().reshape(5, 3, 32).astype(np.int64)
    dots = np.einsum("rbc,nbc->rnb", x_integers, integers)
    expected = torch.from_numpy((dots * x_scales.numpy()[:, None] * scales[None]).sum(axis=-1))
    packed = reference.pack_linear([weight], torch.float32, CPU, "fast")
    torch.testing.assert_close(reference.linear(x, packed).double(), expected, **TOLERANCE)
    head = reference.lm_head_topk(x, packed, 9)
    torch.testing.assert_close(head.top_logits.double(), expected.sort(dim=-1, descending=True).values, **TOLERANCE)


def test_only_block_quantised_parts_are_fast(random: torch.Generator) -> None:
    parts = [blocks(4, 64, random), torch.randn(3, 64, generator=random), blocks(2, 64, random)]
    x = torch.randn(6, 64, generator=random)
    fast = reference.linear(x, reference.pack_linear(parts, torch.float32, CPU, "fast"))
    exact = reference.linear(x, reference.pack_linear(parts, torch.float32, CPU))
    torch.testing.assert_close(fast[:, 4:7], exact[:, 4:7], **TOLERANCE)
    alone = reference.linear(round_trip(x), reference.pack_linear(parts, torch.float32, CPU))
    for rows in (slice(4), slice(7, 9)):
        torch.testing.assert_close(fast[:, rows], alone[:, rows], **TOLERANCE)
        assert (fast[:, rows] - exact[:, rows]).abs().min() > 1e-5


ROWS = (1, 3, 7, 26, 40)
"""Few rows, for which weights are decoded during the product, and more, for which they are unpacked first.

On AVX-512 that is 40 alone.
"""


@pytest.mark.parametrize("rows", ROWS)
def test_activations_are_rounded_as_specified(ops: Kernels, random: torch.Generator, rows: int) -> None:
    """A weight that picks one column each shows the rounded activations: codes and scales, to the last bit."""
    columns = 160
    picks = torch.zeros(columns, columns // BLOCK, 2 + BLOCK, dtype=torch.uint8)
    picks[..., :2] = torch.ones(1, dtype=torch.float16).view(torch.uint8)
    for column in range(columns):
        picks[column, column // BLOCK, 2 + column % BLOCK] = 1
    weight = ops.pack_linear([BlockTensor(picks.flatten(1), "Q8_0", columns)], torch.float32, CPU, "fast")
    x = torch.randn(200, columns, generator=random) * 10 ** torch.linspace(-20, 20, 200)[:, None]
    x[1::7, 32:64] = torch.randint(-126, 126, (29, 32), generator=random) + 0.5  # ties, as the largest is 127
    x[1::7, 40] = 127
    x[2::7, 64:96] = SMALLEST * 0.99
    for some in x.split(rows):
        assert torch.equal(ops.linear(some, weight), round_trip(some))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("format", BLOCKS)
def test_sums_of_integers_are_exact(ops: Kernels, random: torch.Generator, format: str, rows: int) -> None:
    """If every intermediate result is an integer that fp32 can hold, there is only one right result."""
    columns = 512
    weight = integer_weight(format, 37, columns, random)
    x = torch.randint(-10, 11, (rows, columns), generator=random).float()
    x[:, ::BLOCK] = 127
    assert torch.equal(round_trip(x), x)
    assert (x.abs() @ values(weight).abs().t()).max() < 2**23
    y = ops.linear(x, ops.pack_linear([weight], torch.float32, CPU, "fast"))
    assert torch.equal(y.double(), x.double() @ values(weight).double().t())
