"""Products and gathers of packed weights on the GPU kernels, in every dtype, against fp64."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import BlockTensor, Kernels
from marcot.kernels.triton import TritonKernels
from marcot.kernels.triton.arch import INTERPRETED, detect_arch
from marcot.kernels.triton.linear import embed, linear
from marcot.kernels.triton.linear.block_codes import CodeFormat, Codes
from marcot.kernels.triton.linear.embed import embed_variants
from marcot.kernels.triton.linear.linear import linear_variants
from marcot.kernels.triton.linear.packed_linear import QuantizedSection, TritonLinear, pack_codes
from support.checkpoints.stored_weights import BLOCKS, FORMATS, product, random_weight, values
from support.kernels.interpreter_arithmetic import multiply_rows_apart
from support.kernels.kernel_launches import binary_of, noted, weights
from torch import Tensor

HALF_ULP = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(31)


def check(y: Tensor, expected: Tensor, scale: Tensor) -> None:
    """Compare with an fp64 product, allowing one rounding to the dtype, and fp32 sums of terms of the size `scale`."""
    off = (y.double().cpu() - expected).abs()
    assert (off <= 1.01 * HALF_ULP[y.dtype] * expected.abs() + 5e-7 * scale).all()


def check_rounded(y: Tensor, expected: Tensor, x: Tensor, weight: Tensor) -> None:
    """Like `check`, for weights that are rounded to the dtype first."""
    off = (y.double().cpu() - expected).abs()
    half_ulp = 1.01 * HALF_ULP[y.dtype]
    rounding = half_ulp * (x.double().abs() @ weight.double().abs().t())
    assert (off <= half_ulp * expected.abs() + rounding + 5e-7 * sizes(x, weight)).all()


def sizes(x: Tensor, weight: Tensor) -> Tensor:
    return torch.outer(x.double().norm(dim=1), weight.double().norm(dim=1))


@pytest.mark.parametrize("format", BLOCKS)
def test_quantised_weights_are_multiplied_unrounded(
    triton_ops: Kernels, device: torch.device, dtypes: tuple[torch.dtype, ...], random: torch.Generator, format: str
) -> None:
    weight = random_weight(format, 77, 512, random)
    for dtype in dtypes:
        packed = triton_ops.pack_linear([weight], dtype, device)
        for rows in (1, 9):
            x = torch.randn(rows, 512, generator=random).to(dtype)
            y = triton_ops.linear(x.to(device), packed)
            assert (y.dtype, y.shape) == (dtype, (rows, 77))
            check(y, product(x, weight, "exact"), sizes(x, values(weight)))


@pytest.mark.parametrize("format", ["Q4_1", "Q8_0", "Q4_K"])
def test_several_tiles_share_the_activations(device: torch.device, random: torch.Generator, format: str) -> None:
    """For one processor this weight counts as large; the last tiles have no outputs."""
    ops = TritonKernels(detect_arch(device)._replace(processors=1))
    weight = random_weight(format, 273, 512, random)
    packed = ops.pack_linear([weight], torch.float16, device)
    for rows in (3, 11):
        x = torch.randn(rows, 512, generator=random).half()
        check(ops.linear(x.to(device), packed), product(x, weight, "exact"), sizes(x, values(weight)))


@pytest.mark.parametrize("format", ["Q4_1", "Q8_0", "Q4_K", "Q6_K"])
def test_many_rows_multiply_weights_that_are_rounded_once(
    triton_ops: Kernels, device: torch.device, dtypes: tuple[torch.dtype, ...], random: torch.Generator, format: str
) -> None:
    weight = random_weight(format, 77, 512, random)
    for dtype in dtypes:
        packed = triton_ops.pack_linear([weight], dtype, device)
        x = torch.randn(40, 512, generator=random).to(dtype)
        check_rounded(triton_ops.linear(x.to(device), packed), product(x, weight, "exact"), x, values(weight))


@pytest.mark.parametrize("format", ["Q4_K", "Q8_0"])
def test_many_rows(triton_ops: Kernels, device: torch.device, random: torch.Generator, format: str) -> None:
    """Several tiles of rows, then so many rows that the weight is decoded first."""
    weight = random_weight(format, 45, 512, random)
    packed = triton_ops.pack_linear([weight], torch.float32, device)
    x = torch.randn(300, 512, generator=random)
    for rows in (65, 128, 300):
        check(triton_ops.linear(x[:rows].to(device), packed), product(x[:rows], weight, "exact"),
              sizes(x[:rows], values(weight)))  # fmt: skip


def test_columns_are_split_where_outputs_are_few(
    triton_ops: Kernels, device: torch.device, random: torch.Generator
) -> None:
    """The last split is shorter than the others, and columns end inside an iteration of the loop."""
    for columns in (1056, 2240):
        weight = random_weight("Q4_1", 70, columns, random)
        packed = triton_ops.pack_linear([weight], torch.float16, device)
        x = torch.randn(5, columns, generator=random).half()
        check(triton_ops.linear(x.to(device), packed), product(x, weight, "exact"), sizes(x, values(weight)))


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [4, 8])
def test_longer_groups(device: torch.device, random: torch.Generator, bits: int, group: int) -> None:
    outputs, columns = 50, 640
    codes = torch.randint(0, 1 << bits, (outputs, columns), generator=random, dtype=torch.uint8)
    scales, minimums = (torch.randn(2, outputs, columns // group, generator=random) / 8).half()
    format = CodeFormat(bits, group, 0, has_minimums=True, nested=False)
    section = pack_codes(Codes(codes, scales, minimums, None, None), format)
    moved = (None if tensor is None else tensor.to(device) for tensor in section.words)
    packed = TritonLinear(
        (QuantizedSection(format, *moved, section.counters.to(device), fast=False),), columns, torch.float16
    )
    weight = codes.float() * scales.repeat_interleave(group, dim=1) + minimums.repeat_interleave(group, dim=1)
    ops = TritonKernels(detect_arch(device))
    x = torch.randn(13, columns, generator=random).half()
    check(ops.linear(x.to(device), packed), x.double() @ weight.double().t(), sizes(x, weight))
    ids = torch.tensor([49, 0, 3])
    assert torch.equal(ops.embed(ids.to(device), packed).cpu(), weight[ids].half())


@pytest.mark.parametrize("format", FORMATS)
def test_embedding_rows_are_rounded_once(
    triton_ops: Kernels, device: torch.device, dtypes: tuple[torch.dtype, ...], random: torch.Generator, format: str
) -> None:
    weight = random_weight(format, 77, 256, random)
    ids = torch.tensor([76, 0, 5, 5, 31, 32])
    for dtype in dtypes:
        packed = triton_ops.pack_linear([weight], dtype, device)
        assert torch.equal(triton_ops.embed(ids.to(device), packed).cpu(), values(weight)[ids].to(dtype))


def test_packed_weights_are_hardly_larger_than_those_of_the_file(random: torch.Generator) -> None:
    """Codes of five and six bits take eight, and scales of odd sizes are stored as bytes."""
    ops, cpu = TritonKernels(INTERPRETED), torch.device("cpu")
    most = {"Q5_0": 34 / 22, "Q5_1": 36 / 24, "Q4_K": 148 / 144, "Q5_K": 276 / 176, "Q6_K": 274 / 210}
    for format in BLOCKS:
        weight = random_weight(format, 48, 512, random)
        assert isinstance(weight, BlockTensor)
        packed = ops.pack_linear([weight], torch.float16, cpu)
        assert packed.nbytes == round(weight.data.nbytes * most.get(format, 1))


def test_neighbours_of_one_format_are_one_section(random: torch.Generator) -> None:
    ops, cpu = TritonKernels(INTERPRETED), torch.device("cpu")
    formats = ("Q4_K", "Q4_K", "Q6_K", "F16", "F32", "Q5_0", "Q8_0")
    parts = [random_weight(format, rows, 256, random) for rows, format in enumerate(formats, 3)]
    packed = ops.pack_linear(parts, torch.float16, cpu)
    assert [section.rows for section in packed.sections] == [3 + 4, 5, 6 + 7, 8 + 9]
    assert packed.out_features == sum(range(3, 10))
    mixed = ops.pack_linear(parts, torch.float16, cpu, "fast")
    assert [section.fast for section in mixed.sections] == [True, True, False, True]


def test_a_format_that_no_kernel_reads_is_decoded(device: torch.device, random: torch.Generator) -> None:
    ops = TritonKernels(detect_arch(device))
    data = torch.randint(0, 100, (9, 2 * 110), generator=random, dtype=torch.uint8)
    weight = BlockTensor(data, "Q3_K", 512)
    packed = ops.pack_linear([weight], torch.float32, device)
    x = torch.randn(4, 512, generator=random)
    check(
        ops.linear(x.to(device), packed), x.double() @ weight.dequantize().double().t(), sizes(x, weight.dequantize())
    )


@pytest.mark.parametrize("format", ["F16", "Q4_K", "Q8_0"])
def test_a_row_has_the_same_bits_in_any_batch(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, random: torch.Generator, format: str
) -> None:
    multiply_rows_apart(monkeypatch)
    ops = TritonKernels(detect_arch(device), deterministic=True)
    weight = random_weight(format, 90, 1280, random)
    packed = ops.pack_linear([weight], torch.float16, device)
    x = torch.randn(75, 1280, generator=random).half()
    whole = ops.linear(x.to(device), packed)
    check_rounded(whole, product(x, weight, "exact"), x, values(weight))
    for rows in (slice(0, 1), slice(40, 57), slice(3, 70)):
        assert torch.equal(ops.linear(x[rows].to(device), packed), whole[rows])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_launches_are_listed_as_variants(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    variants = [*linear_variants(INTERPRETED), *embed_variants(INTERPRETED)]
    names = ("_quantized_linear", "_dense_linear")
    launches = noted(monkeypatch, [*((linear, name) for name in names), (embed, "_decode")])
    for arch, outs in ((INTERPRETED, 80), (INTERPRETED._replace(processors=1), 300)):
        for weight in weights(dtype, outs, columns=2048):
            for rows in (1, 9, 17, 33, 100, 257):
                x = torch.zeros(rows, weight.in_features, dtype=dtype)
                for invariant in (False, True):
                    linear.linear(arch, x, weight, invariant)
                embed.embed(torch.zeros(rows, dtype=torch.int64), weight)
    other = "bf16" if dtype == torch.float16 else "fp16"
    listed = {variant.name for variant in variants if other not in variant.name.split()}
    assert {binary_of(launch, variants) for launch in launches} == listed


def test_variants_have_every_argument() -> None:
    variants = [*linear_variants(INTERPRETED), *embed_variants(INTERPRETED)]
    assert len({variant.name for variant in variants}) == len(variants)
    for variant in variants:
        assert not set(variant.signature) & set(variant.constants)
        assert set(variant.signature) | set(variant.constants) == set(variant.kernel.arg_names)
        assert set(variant.aligned) <= set(variant.signature)
