"""The LM head of the GPU kernels: its noise, keys, merge and memory traffic, and its results against fp64."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from marcot.kernels import Draw, HeadTopK, Kernels
from marcot.kernels.reference.philox import gumbel
from marcot.kernels.triton import TritonKernels
from marcot.kernels.triton.arch import INTERPRETED, Arch, detect_arch
from marcot.kernels.triton.linear.packed_linear import DenseSection, TritonLinear
from marcot.kernels.triton.lm_head import bound as lm_head_bound
from marcot.kernels.triton.lm_head import lm_head_topk
from marcot.kernels.triton.lm_head import merge as lm_head_merge
from marcot.kernels.triton.lm_head import shape as lm_head_shape
from marcot.kernels.triton.lm_head import tiles as lm_head_tiles
from marcot.kernels.triton.lm_head.draw import best_of_tile, column_of_token, promise_of_tile, token_of_column
from marcot.kernels.triton.lm_head.key import key_of, logit_of, token_of
from marcot.kernels.triton.lm_head.lm_head_topk import lm_head_variants
from marcot.kernels.triton.lm_head.shape import DENSE, Sample, tile_shape
from marcot.kernels.triton.lm_head.tiles import quarters
from marcot.kernels.triton.philox import gumbel_bound, gumbel_of
from support.checkpoints.stored_weights import product, random_weight
from support.kernels.interpreter_arithmetic import multiply_rows_apart
from support.kernels.kernel_launches import binary_of, noted, weights
from support.kernels.lm_head_bytes import lm_head_bytes, unfused_bytes
from support.kernels.tied_draws import tied_draws
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from triton.runtime import interpreter

TOLERANCE = {"atol": 2e-5, "rtol": 2e-6}
H100 = Arch("cuda", "sm_90", 32, 132)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(41)


@pytest.fixture(params=["whole", "sampled"])
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether all logits are written, or only those above a bound, as otherwise only for a large vocabulary."""
    if request.param == "sampled":
        sample_only(monkeypatch)
    return str(request.param)


def sample_only(monkeypatch: pytest.MonkeyPatch, room: int | None = None) -> None:
    """Write all logits for at most one row; otherwise those above the bound of a sample, in at most `room` tiles."""
    monkeypatch.setattr(lm_head_shape, "_LOGITS", 1)
    if room is not None:
        real = lm_head_topk.sample_of

        def sample_of(*sizes: int) -> Sample:
            sample = real(*sizes)
            return sample._replace(capacity=sample.tiles + room)

        monkeypatch.setattr(lm_head_topk, "sample_of", sample_of)


def to(device: torch.device, draw: Draw) -> Draw:
    return Draw(*(field.to(device) for field in draw))


def some_draw(rows: int, random: torch.Generator) -> Draw:
    temperature = torch.rand(rows, generator=random) * 2 + 0.2
    temperature[1::4] = 0
    key = torch.randint(-(2**63), 2**63 - 1, (rows,), generator=random)
    return Draw(temperature, key, torch.randint(0, 2**31, (rows,), generator=random))


def check(head: HeadTopK, logits: Tensor, k: int, targets: Tensor, draw: Draw) -> None:
    """Compare everything with `logits` (`[rows, vocab]` fp64)."""
    head = HeadTopK(*(None if field is None else field.cpu() for field in head))
    best = logits.topk(k, dim=-1).values
    torch.testing.assert_close(head.top_logits.double(), best, **TOLERANCE)
    torch.testing.assert_close(logits.gather(1, head.top_ids), best, **TOLERANCE)
    assert all(len(set(row)) == k for row in head.top_ids.tolist())
    torch.testing.assert_close(head.lse.double(), logits.logsumexp(dim=-1), **TOLERANCE)
    assert head.target_logits is not None
    assert head.drawn_ids is not None
    assert head.drawn_logits is not None
    assert head.scaled_lse is not None
    torch.testing.assert_close(head.target_logits.double(), logits.gather(1, targets[:, None])[:, 0], **TOLERANCE)
    drawing = draw.temperature > 0
    scaled = logits[drawing] / draw.temperature[drawing, None].double()
    noise = gumbel(draw.key[drawing], draw.position[drawing], torch.arange(logits.shape[1])[None])
    drawn = head.drawn_ids[drawing, None]
    scores = scaled + noise.double()
    assert (scores.amax(dim=-1) - scores.gather(1, drawn)[:, 0] < 1e-5 * (1 + scaled.abs().max())).all()
    torch.testing.assert_close(head.drawn_logits[drawing, None].double(), logits[drawing].gather(1, drawn), **TOLERANCE)
    torch.testing.assert_close(head.scaled_lse[drawing].double(), scaled.logsumexp(dim=-1), **TOLERANCE)


@pytest.mark.parametrize(("rows", "vocab", "k"), [(1, 127, 1), (17, 129, 8), (33, 403, 20), (65, 130, 64)])
def test_the_head(
    triton_ops: Kernels,
    device: torch.device,
    dtypes: tuple[torch.dtype, ...],
    random: torch.Generator,
    rows: int,
    vocab: int,
    k: int,
) -> None:
    targets, draw = torch.randint(0, vocab, (rows,), generator=random), some_draw(rows, random)
    for dtype in dtypes:
        weight = torch.randn(vocab, 72, generator=random).to(dtype)
        hidden = torch.randn(rows, 72, generator=random).to(dtype)
        packed = triton_ops.pack_linear([weight], dtype, device)
        head = triton_ops.lm_head_topk(hidden.to(device), packed, k, targets.to(device), to(device, draw))
        check(head, product(hidden, weight, "exact"), k, targets, draw)


@pytest.mark.parametrize("room", [None, 1], ids=["room", "too little room"])
def test_tiles_that_a_bound_decides_about(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, random: torch.Generator, room: int | None
) -> None:
    """Rows whose tiles do not fit are computed again. The best tokens are in the last third."""
    sample_only(monkeypatch, room)
    ops = TritonKernels(detect_arch(device)._replace(processors=3))
    rows, vocab, k = 18, 2060, 5
    weight, hidden = torch.randn(vocab, 40, generator=random), torch.randn(rows, 40, generator=random)
    weight[1500:] *= 2
    targets, draw = torch.randint(0, vocab, (rows,), generator=random), some_draw(rows, random)
    packed = ops.pack_linear([weight], torch.float32, device)
    head = ops.lm_head_topk(hidden.to(device), packed, k, targets.to(device), to(device, draw))
    check(head, product(hidden, weight, "exact"), k, targets, draw)


def test_a_vocabulary_of_several_formats(triton_ops: Kernels, device: torch.device, random: torch.Generator) -> None:
    """Sections begin and end inside tiles, and one is smaller than a tile."""
    formats = {"Q4_K": 200, "F16": 3, "Q6_K": 150, "Q8_0": 300, "Q4_1": 61}
    parts = [random_weight(format, rows, 256, random) for format, rows in formats.items()]
    hidden = torch.randn(18, 256, generator=random).half()
    targets, draw = torch.randint(0, 714, (18,), generator=random), some_draw(18, random)
    targets[:6] = torch.tensor([0, 199, 200, 202, 203, 713])
    packed = triton_ops.pack_linear(parts, torch.float16, device)
    head = triton_ops.lm_head_topk(hidden.to(device), packed, 33, targets.to(device), to(device, draw))
    check(head, torch.cat([product(hidden, part, "exact") for part in parts], dim=1), 33, targets, draw)


@pytest.mark.parametrize("k", [1, 8, 20, 64])
def test_of_equal_logits_the_lower_token_is_first(
    triton_ops: Kernels, device: torch.device, random: torch.Generator, written: str, k: int
) -> None:
    """Small integers have exact products, many of them equal; zeros have either sign."""
    hidden = torch.randint(-1, 2, (9, 16), generator=random).float()
    hidden[0] = 0
    weight = torch.randint(-1, 2, (1500, 16), generator=random).float()
    head = triton_ops.lm_head_topk(hidden.to(device), triton_ops.pack_linear([weight], torch.float32, device), k)
    expected = (hidden @ weight.t()).sort(dim=-1, descending=True, stable=True)
    assert torch.equal(head.top_logits.cpu(), expected.values[:, :k])
    assert torch.equal(head.top_ids.cpu(), expected.indices[:, :k])


@pytest.mark.parametrize("order", ["ascending", "descending", "all in one tile"])
def test_a_vocabulary_in_the_worst_order(
    triton_ops: Kernels, device: torch.device, random: torch.Generator, written: str, order: str
) -> None:
    """Every tile has a better token than the one before, or the first or another tile has all the best tokens."""
    logits = torch.linspace(-5, 5, 2000)
    if order == "descending":
        logits = logits.flip(0)
    elif order == "all in one tile":
        logits = logits[torch.randperm(2000, generator=random)]
        logits[640:704] += 20
    hidden = torch.zeros(5, 16)
    hidden[:, 0] = torch.tensor([1.0, -1.0, 2.0, 0.5, -0.1])
    weight = torch.zeros(2000, 16)
    weight[:, 0] = logits
    head = triton_ops.lm_head_topk(hidden.to(device), triton_ops.pack_linear([weight], torch.float32, device), 20)
    expected = (hidden[:, :1] * logits[None]).sort(dim=-1, descending=True, stable=True)
    assert torch.equal(head.top_logits.cpu(), expected.values[:, :20])
    assert torch.equal(head.top_ids.cpu(), expected.indices[:, :20])


def test_rows_without_a_draw_disturb_nobody(triton_ops: Kernels, device: torch.device, random: torch.Generator) -> None:
    weight, hidden = torch.randn(300, 16, generator=random), torch.randn(20, 16, generator=random)
    packed = triton_ops.pack_linear([weight], torch.float32, device)
    draw = some_draw(20, random)
    head = triton_ops.lm_head_topk(hidden.to(device), packed, 5, None, to(device, draw))
    drawing = (draw.temperature > 0).nonzero()[:, 0]
    alone = triton_ops.lm_head_topk(
        hidden[drawing].to(device), packed, 5, None, to(device, Draw(*(field[drawing] for field in draw)))
    )
    assert head.drawn_ids is not None
    assert alone.drawn_ids is not None
    assert torch.equal(head.drawn_ids.cpu()[drawing], alone.drawn_ids.cpu())


@pytest.mark.parametrize("format", ["F16", "Q8_0"])
def test_a_row_has_the_same_bits_in_any_batch(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, random: torch.Generator, format: str
) -> None:
    multiply_rows_apart(monkeypatch)
    ops = TritonKernels(detect_arch(device), deterministic=True)
    packed = ops.pack_linear([random_weight(format, 300, 64, random)], torch.float16, device)
    hidden, draw = torch.randn(40, 64, generator=random).half().to(device), to(device, some_draw(40, random))
    whole = ops.lm_head_topk(hidden, packed, 9, None, draw)
    for rows in (slice(3, 4), slice(20, 38)):
        some = ops.lm_head_topk(hidden[rows], packed, 9, None, Draw(*(field[rows] for field in draw)))
        for part, full in zip(some, whole, strict=True):
            assert part is full or torch.equal(part, full[rows])


def test_draws_that_the_last_bit_decides(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    multiply_rows_apart(monkeypatch)
    ops = TritonKernels(detect_arch(device), deterministic=True)
    tied_draws(rows=17, vocab=150).check_in_batches(ops, device, (1, 5, 20))


_KERNELS = [(lm_head_tiles, "_tiles"), (lm_head_bound, "_bound"), (lm_head_merge, "_merge")]


class Sizes(TorchDispatchMode):
    """Records the largest number of values in a new tensor, except for copies that the interpreter makes."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not is_interpreter_at_work():
            known = {x.untyped_storage().data_ptr() for x in tensors_in((args, kwargs))}
            new = [x.numel() for x in tensors_in(result) if x.untyped_storage().data_ptr() not in known]
            self.largest = max([self.largest, *new])
        return result


def tensors_in(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def is_interpreter_at_work() -> bool:
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename != interpreter.__file__:
        frame = frame.f_back
    return frame is not None


def test_a_product_that_writes_its_logits_would_be_seen(random: torch.Generator) -> None:
    weight, hidden = torch.randn(300, 16, generator=random), torch.randn(40, 16, generator=random)
    with Sizes() as seen:
        view = weight.t()
    assert seen.largest == 0
    with Sizes() as seen:
        (hidden @ view).amax(dim=1)
    assert seen.largest == 40 * 300


@pytest.mark.parametrize("rows", [34, 35, 64, 256, 1000])
def test_no_tensor_has_the_size_of_the_logits(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """For few rows, all logits are written, at most 20 MB."""
    noted(monkeypatch, _KERNELS)
    vocab = 151_936
    weight = TritonLinear((DenseSection(torch.zeros(vocab, 16, dtype=torch.float16), fast=False),), 16, torch.float16)
    hidden = torch.zeros(rows, 16, dtype=torch.float16)
    with Sizes() as seen:
        lm_head_topk.lm_head_topk(H100, hidden, weight, 20)
    assert 0 < 4 * seen.largest < 20 * 2**20 if rows <= 34 else seen.largest < min(rows, 256) * vocab / 2


@pytest.mark.parametrize("vocab", [49_152, 151_936])
@pytest.mark.parametrize("columns", [576, 896, 3584])
def test_bytes_are_fewer_than_with_logits_in_memory(vocab: int, columns: int) -> None:
    """For many rows, only a part of the logits is written."""
    for rows in (1, 2, 15, 16, 17, 33, 64, 65, 100, 128, 129, 200, 256):
        for k in (1, 5, 20):
            moved = lm_head_bytes(H100, rows, columns, vocab, k, torch.bfloat16)
            assert moved.total < unfused_bytes(rows, columns, vocab, k, torch.bfloat16)
            assert moved.partials < max(24 * 2**20, rows * vocab * 4 * 0.6)


def test_bytes_of_results_are_those_of_the_tensors(
    triton_ops: Kernels, device: torch.device, random: torch.Generator
) -> None:
    packed = triton_ops.pack_linear([torch.randn(300, 16, generator=random)], torch.float32, device)
    hidden, targets = torch.randn(7, 16, generator=random).to(device), torch.zeros(7, dtype=torch.int64, device=device)
    draw = to(device, some_draw(7, random))
    head = triton_ops.lm_head_topk(hidden, packed, 9, targets, draw)
    counted = lm_head_bytes(detect_arch(device), 7, 16, 300, 9, torch.float32)
    assert counted.results == sum(field.nbytes for field in head if field is not None)
    assert counted.inputs == targets.nbytes + sum(field.nbytes for field in draw)
    assert (counted.weights, counted.hidden) == (packed.nbytes, hidden.nbytes)


@triton.jit
def _draw_of_tile(promises, scores, winners, drawn, logits, keys, positions, first, unknown, ROWS: tl.constexpr):
    row, token = tl.arange(0, ROWS), token_of_column(tl.arange(0, 128))
    key, position = tl.load(keys + row), tl.load(positions + row)
    tile = tl.load(logits + row[:, None] * 128 + token[None, :])
    inverse = tl.full([ROWS], 1.25, tl.float32)
    tl.store(promises + row, promise_of_tile(quarters(tile), first, inverse, key, position, unknown, 4))
    for number in range(ROWS):
        key, position = tl.load(keys + number), tl.load(positions + number)
        line = tl.load(logits + number * 128 + token)
        score, winner, logit = best_of_tile(line, first + token, 1.25, key, position)
        tl.store(scores + number, score)
        tl.store(winners + number, winner)
        tl.store(drawn + number, logit)


@pytest.mark.parametrize("first", [0, 128, 151_936 - 128, 2**31 - 128])
def test_draw_of_a_tile_is_that_of_the_reference(device: torch.device, random: torch.Generator, first: int) -> None:
    """No score exceeds the tile's bound, and its draw is the token with the largest score."""
    rows = 16
    draw = some_draw(rows, random)
    position = draw.position.clone()
    position[:2] = torch.tensor([0, 2**32 - 1])
    logits = torch.randn(rows, 128, generator=random)
    promises, scores, drawn = torch.empty(3, rows, device=device)
    winners = torch.empty(rows, dtype=torch.int64, device=device)
    tensors = (logits.to(device), draw.key.to(device), position.to(device))
    _draw_of_tile[1,](promises, scores, winners, drawn, *tensors, first, 0, rows)
    noise = gumbel(draw.key, position, torch.arange(first, first + 128)[None])
    best = (logits * 1.25 + noise).max(dim=1)
    torch.testing.assert_close(scores.cpu(), best.values, atol=2e-6, rtol=1e-6)
    assert torch.equal(winners.cpu(), best.indices + first)
    assert torch.equal(drawn.cpu(), logits.gather(1, best.indices[:, None])[:, 0])
    assert (promises >= scores).all()
    assert (promises - scores).max() < 0.2


@triton.jit
def _round_trip(out, COUNT: tl.constexpr):
    column = tl.arange(0, COUNT)
    tl.store(out + column, column_of_token(token_of_column(column)))


def test_columns_of_tokens_are_those_of_columns(device: torch.device) -> None:
    out = torch.empty(128, dtype=torch.int32, device=device)
    _round_trip[1,](out, 128)
    assert out.tolist() == list(range(128))


@triton.jit
def _bounds(out, bound, word, COUNT: tl.constexpr):
    lane = tl.arange(0, COUNT)
    words = tl.load(word + lane).to(tl.uint32)
    tl.store(out + lane, gumbel_of(words))
    tl.store(bound + lane, gumbel_bound(words))


def test_noise_is_not_above_its_bound(device: torch.device, random: torch.Generator) -> None:
    """Where the noise is large and may win, the bound is close."""
    edges = torch.tensor([0, 1, 511, 512, 513, 1023, 1024, 2**31, 2**32 - 2**9, 2**32 - 1])
    word = torch.cat([edges, torch.randint(0, 2**32, (1014,), generator=random) >> torch.arange(1014) % 32])
    out, bound = torch.empty(1024, device=device), torch.empty(1024, device=device)
    _bounds[1,](out, bound, word.to(device), 1024)
    assert (out <= bound).all()
    close = (out > 3) & (word.to(device) >= 2**18)
    assert close.sum() > 100
    assert (bound - out)[close].max() < 0.05


@triton.jit
def _gumbel_of(out, word, COUNT: tl.constexpr):
    lane = tl.arange(0, COUNT)
    tl.store(out + lane, gumbel_of(tl.load(word + lane).to(tl.uint32)))


def test_noise_of_the_smallest_and_largest_words(device: torch.device) -> None:
    edges = [0, 1, 2, 255, 256, 2**7, 2**8 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 2**8, 2**32 - 1]
    word = torch.tensor([*edges, *(2**n for n in range(31)), *(2**32 - 2**n for n in range(1, 22))])
    out = torch.empty(64, device=device)
    _gumbel_of[1,](out, word.to(device), 64)
    uniform = ((word.double() + 0.5) * 2.0**-32).float().clamp(max=1 - 2.0**-24).double()
    torch.testing.assert_close(out.cpu().double(), -torch.log(-torch.log1p(-uniform)), atol=3e-7, rtol=3e-7)


@triton.jit
def _keys(key, logit, token, logits, tokens, COUNT: tl.constexpr):
    lane = tl.arange(0, COUNT)
    made = key_of(tl.load(logits + lane), tl.load(tokens + lane))
    tl.store(key + lane, made)
    tl.store(logit + lane, logit_of(made))
    tl.store(token + lane, token_of(made))


def test_keys_order_as_logits_do_and_hold_them(device: torch.device, random: torch.Generator) -> None:
    logits = torch.randn(1024, generator=random) * 10.0 ** torch.randint(-38, 38, (1024,), generator=random)
    logits[:64] = logits[64:128]
    logits[128:140] = torch.tensor([0.0, -0.0, 3.4e38, -3.4e38, 1e-45, -1e-45, 1, -1, 0.0, -0.0, 2**-126, -(2**-126)])
    tokens = torch.randperm(1024, generator=random).int()
    tokens[0] = 2**31 - 1
    key, logit = torch.empty(1024, dtype=torch.int64, device=device), torch.empty(1024, device=device)
    token = torch.empty(1024, dtype=torch.int64, device=device)
    _keys[1,](key, logit, token, logits.to(device), tokens.to(device), 1024)
    assert torch.equal(logit.cpu(), logits)
    assert torch.equal(token.cpu(), tokens.long())
    assert (key >= 2**31).all()
    by_key = key.cpu().argsort(descending=True)
    expected = sorted(range(1024), key=lambda i: (-logits[i].item(), tokens[i].item()))
    assert by_key.tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_launches_are_listed_as_variants(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    variants = list(lm_head_variants(INTERPRETED))
    launches = noted(monkeypatch, _KERNELS)
    targets, longs = torch.zeros(2, 100, dtype=torch.int64)
    for weight in weights(dtype):
        for rows in (1, 17, 100):
            hidden = torch.zeros(rows, weight.in_features, dtype=dtype)
            draw = Draw(torch.ones(rows), longs[:rows], longs[:rows])
            for k in (1, 33, 64):
                for invariant, most in ((False, 5 << 20), (False, 1), (True, 5 << 20)):
                    monkeypatch.setattr(lm_head_shape, "_LOGITS", most)
                    lm_head_topk.lm_head_topk(INTERPRETED, hidden, weight, k, None, None, invariant)
                    lm_head_topk.lm_head_topk(INTERPRETED, hidden, weight, k, targets[:rows], draw, invariant)
    other = "bf16" if dtype == torch.float16 else "fp16"
    names = {variant.name for variant in variants if other not in variant.name.split()}
    assert {binary_of(launch, variants) for launch in launches} == names


def test_variants_have_every_argument() -> None:
    names = [variant.name for variant in lm_head_variants(INTERPRETED)]
    assert len(set(names)) == len(names)
    for variant in lm_head_variants(INTERPRETED):
        assert not set(variant.signature) & set(variant.constants)
        assert set(variant.signature) | set(variant.constants) == set(variant.kernel.arg_names)
        assert set(variant.aligned) <= set(variant.signature)


@pytest.mark.parametrize("arch", [Arch("cuda", "sm_90", 32, 132), Arch("hip", "gfx942", 64, 304)], ids=lambda a: a.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_where_bits_must_not_change_rows_do_not_change_the_launch(arch: Arch, dtype: torch.dtype) -> None:
    shapes = [tile_shape(arch, DENSE, rows, dtype, has_draw=False, invariant=True) for rows in (1, 16, 17, 64, 300)]
    assert len(set(shapes)) == 1
    blocks = 1187
    assert (
        len({lm_head_shape.shards_for(arch, shapes[0], rows, blocks, invariant=True) for rows in (1, 16, 17, 300)}) == 1
    )
