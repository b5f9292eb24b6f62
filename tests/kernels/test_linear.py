"""Matrix products and the embedding in every format, against fp64, with awkward sizes."""

from __future__ import annotations

from itertools import cycle

import pytest
import torch
from marcot.kernels import BlockTensor, Compute, Kernels
from marcot.kernels.reference.quantize import SMALLEST
from support.checkpoints.stored_weights import (
    BLOCKS,
    FORMATS,
    MODE_IDS,
    MODES,
    assert_close,
    filled_weight,
    product,
    random_weight,
    values,
)

CPU = torch.device("cpu")

MOST_ROWS = 70
OUT_FEATURES = (1, 17, 2, 50, 15, 16, 33, 37, 3)


def in_features(format: str) -> tuple[int, ...]:
    """Row lengths around the runs of 448 columns, or of 2048 quantised ones, that a kernel sums at a time."""
    if format not in BLOCKS:
        return 1, 3, 31, 63, 100, 448, 449, 897, 1347
    if BLOCKS[format].columns == 32:
        return 32, 96, 160, 448, 512, 544, 992, 1024, 1056, 2048, 2080
    return 256, 768, 1024, 1280, 2048, 2304


@pytest.mark.parametrize(("format", "compute"), MODES, ids=MODE_IDS)
def test_every_number_of_rows(ops: Kernels, random: torch.Generator, format: str, compute: Compute) -> None:
    weight = random_weight(format, 37, 256, random)
    packed = ops.pack_linear([weight], torch.float32, CPU, compute)
    x = torch.randn(MOST_ROWS, 256, generator=random)
    expected = product(x, weight, compute)
    for rows in range(MOST_ROWS + 1):
        assert_close(ops.linear(x[:rows], packed), expected[:rows], x[:rows], weight)


@pytest.mark.parametrize(("format", "compute"), MODES, ids=MODE_IDS)
def test_columns_and_outputs_that_divide_nothing(
    ops: Kernels, random: torch.Generator, format: str, compute: Compute
) -> None:
    for rows, columns, outputs in zip(cycle((5, 1, 13)), in_features(format), cycle(OUT_FEATURES), strict=False):
        weight = random_weight(format, outputs, columns, random)
        packed = ops.pack_linear([weight], torch.float32, CPU, compute)
        assert (packed.out_features, packed.in_features) == (outputs, columns)
        x = torch.randn(rows, columns, generator=random)
        assert_close(ops.linear(x, packed), product(x, weight, compute), x, weight)


@pytest.mark.parametrize(("format", "compute"), MODES, ids=MODE_IDS)
def test_errors_of_long_rows_do_not_pile_up(
    ops: Kernels, random: torch.Generator, format: str, compute: Compute
) -> None:
    """The longest rows of the 1.5B model. One running sum in fp32 would be off by 4e-6 of a row's largest."""
    weight = random_weight(format, 33, 8960, random)
    packed = ops.pack_linear([weight], torch.float32, CPU, compute)
    for rows in (1, 3, 7):  # each number of rows takes another code path
        x = torch.randn(rows, 8960, generator=random)
        expected = product(x, weight, compute)
        off = (ops.linear(x, packed) - expected).abs().amax(dim=1) / expected.abs().amax(dim=1)
        assert off.max() < 2e-6


@pytest.mark.parametrize("compute", ["exact", "fast"])
def test_parts_of_different_formats(ops: Kernels, random: torch.Generator, compute: Compute) -> None:
    """Q, K and V of a file need not have one format. Each part decides by itself whether activations are rounded."""
    rows = {"Q5_0": 37, "Q8_0": 5, "F32": 9, "Q6_K": 16, "BF16": 1, "Q4_K": 20, "F16": 3}
    parts = [random_weight(format, count, 512, random) for format, count in rows.items()]
    packed = ops.pack_linear(parts, torch.float32, CPU, compute)
    x = torch.randn(19, 512, generator=random)
    results = ops.linear(x, packed).split(list(rows.values()), dim=1)
    for part, y in zip(parts, results, strict=True):
        assert_close(y, product(x, part, compute), x, part)
    ids = torch.tensor([90, 0, 36, 37, 41, 42, 50, 51, 66, 67, 68, 87, 88, 0])
    assert torch.equal(ops.embed(ids, packed), torch.cat([values(part) for part in parts])[ids])


@pytest.mark.parametrize("format", FORMATS)
def test_embedding_rows_are_decoded_exactly(ops: Kernels, random: torch.Generator, format: str) -> None:
    for columns in in_features(format):
        weight = random_weight(format, 35, columns, random)
        ids = torch.randint(0, 35, (11,), generator=random)
        packed = ops.pack_linear([weight], torch.float32, CPU)
        assert torch.equal(ops.embed(ids, packed), values(weight)[ids])
        assert ops.embed(ids[:0], packed).shape == (0, columns)


@pytest.mark.parametrize("byte", [0x00, 0x7F, 0x80, 0xFF], ids=hex)
@pytest.mark.parametrize("format", BLOCKS)
def test_the_largest_codes_and_activations_fit_every_sum(ops: Kernels, format: str, byte: int) -> None:
    """Blocks of 127s and -127s times blocks of the largest codes: no intermediate integer may overflow or saturate."""
    weight = filled_weight(format, 18, 512, byte)
    packed = ops.pack_linear([weight], torch.float32, CPU, "fast")
    x = torch.ones(4, 512)
    x[1] = -1
    x[2, ::2] = -1
    x[3, 32:64] = -1
    for times in (1, 2, 9):  # codes decoded during the product, and unpacked before it: with AVX-512 from 33 rows on
        rows = x.repeat(times, 1)
        assert_close(ops.linear(rows, packed), product(rows, weight, "fast"), rows, weight)


@pytest.mark.parametrize(("format", "compute"), MODES, ids=MODE_IDS)
def test_zeros_and_the_smallest_and_largest_numbers(
    ops: Kernels, random: torch.Generator, format: str, compute: Compute
) -> None:
    """Also next to each other in one row, and where 127 / largest is more than fp32 can hold."""
    weight = random_weight(format, 18, 256, random)
    packed = ops.pack_linear([weight], torch.float32, CPU, compute)
    sizes = [0, 1e-45, 1e-40, 2e-38, 1e-36, 1e-33, SMALLEST * 0.99, SMALLEST * 1.01, 1e-20, 1e10, 1e20, 1e32]
    x = torch.randn(len(sizes) + 2, 256, generator=random)
    x[: len(sizes)] *= torch.tensor(sizes, dtype=torch.float64)[:, None]
    x[-2, 32:96] = 0
    x[-1] *= torch.tensor([*sizes[:-4], *sizes[:-4]]).repeat_interleave(16)
    y = ops.linear(x, packed)
    assert torch.isfinite(y).all()
    assert (y[0] == 0).all()
    assert_close(y, product(x, weight, compute), x, weight)


def test_dense_weights_in_any_memory(ops: Kernels, random: torch.Generator) -> None:
    """Transposed weights, a slice of columns, and a dtype that no kernel reads."""
    whole = torch.randn(48, 70, generator=random)
    x = torch.randn(3, 48, generator=random)
    for weight in (whole.t(), torch.randn(70, 96, generator=random)[:, 5:53], whole.t().double()):
        packed = ops.pack_linear([weight], torch.float32, CPU)
        assert_close(ops.linear(x, packed), product(x, weight, "exact"), x, weight)
    shuffled = torch.randn(48, 3, generator=random).t()
    packed = ops.pack_linear([whole.t()], torch.float32, CPU)
    assert_close(ops.linear(shuffled, packed), product(shuffled, whole.t(), "exact"), shuffled, whole.t())


def test_rows_of_blocks_in_the_middle_of_a_file(ops: Kernels, random: torch.Generator) -> None:
    """A matrix may be a view of memory that begins and ends anywhere."""
    weight = random_weight("Q5_0", 40, 96, random)
    assert isinstance(weight, BlockTensor)
    memory = torch.cat((torch.zeros(7, dtype=torch.uint8), weight.data.flatten()))
    view = BlockTensor(memory[7:].view(40, -1)[3:37], "Q5_0", 96)
    x = torch.randn(3, 96, generator=random)
    packed = ops.pack_linear([view], torch.float32, CPU)
    assert_close(ops.linear(x, packed), product(x, view, "exact"), x, view)
