"""The LM head with its log-sum-exp, top-k, targets and draw, against full rows of logits in fp64."""

from __future__ import annotations

import pytest
import torch
from marcot.kernels import BlockTensor, Compute, Draw, HeadTopK, Kernels
from marcot.kernels.reference.philox import gumbel
from support.checkpoints.stored_weights import product, random_weight
from torch import Tensor

CPU = torch.device("cpu")
TOLERANCE = {"atol": 2e-5, "rtol": 2e-6}


def draw(rows: int, random: torch.Generator) -> Draw:
    """Draws, with every third row at temperature 0; keys and positions use all their bits."""
    temperature = torch.rand(rows, generator=random) * 2 + 0.2
    temperature[2::3] = 0
    key = torch.randint(-(2**62), 2**62, (rows,), generator=random)
    position = torch.randint(0, 2**31, (rows,), generator=random)
    return Draw(temperature, key, position)


def check(head: HeadTopK, logits: Tensor, k: int, targets: Tensor | None, asked: Draw | None) -> None:
    """Compare every field of `head` with `logits` (`[rows, vocab]` fp64)."""
    expected = logits.topk(k, dim=-1).values
    assert (head.top_ids.dtype, head.top_logits.dtype) == (torch.int64, torch.float32)
    torch.testing.assert_close(head.top_logits.double(), expected, **TOLERANCE)
    torch.testing.assert_close(logits.gather(1, head.top_ids), expected, **TOLERANCE)
    assert all(len(set(row)) == k for row in head.top_ids.tolist())
    assert (head.top_logits.diff(dim=1) <= 0).all()
    torch.testing.assert_close(head.lse.double(), logits.logsumexp(dim=-1), **TOLERANCE)
    if targets is None:
        assert head.target_logits is None
    else:
        assert head.target_logits is not None
        wanted = logits.gather(1, targets[:, None])[:, 0]
        torch.testing.assert_close(head.target_logits.double(), wanted, **TOLERANCE)
    if asked is None:
        assert (head.drawn_ids, head.drawn_logits, head.scaled_lse) == (None, None, None)
    else:
        check_draw(head, logits, asked)


def check_draw(head: HeadTopK, logits: Tensor, asked: Draw) -> None:
    """A token other than the best may be drawn only where rounding decides between them."""
    assert head.drawn_ids is not None
    assert head.drawn_logits is not None
    assert head.scaled_lse is not None
    drawing = asked.temperature > 0
    scaled = logits[drawing] / asked.temperature[drawing, None].double()
    ids = torch.arange(logits.shape[1])[None]
    scores = scaled + gumbel(asked.key[drawing], asked.position[drawing], ids).double()
    drawn = head.drawn_ids[drawing, None]
    behind = scores.max(dim=-1).values - scores.gather(1, drawn)[:, 0]
    assert behind.max() < 2e-5 * (1 + scaled.abs().max())
    assert (behind == 0).double().mean() > 0.9
    torch.testing.assert_close(head.drawn_logits[drawing, None].double(), logits[drawing].gather(1, drawn), **TOLERANCE)
    torch.testing.assert_close(head.scaled_lse[drawing].double(), scaled.logsumexp(dim=-1), **TOLERANCE)


@pytest.mark.parametrize("vocab", [1, 5, 16, 64, 511, 512, 513, 1003])
@pytest.mark.parametrize("k", [1, 5, 20, 64])
def test_small_vocabularies(ops: Kernels, random: torch.Generator, vocab: int, k: int) -> None:
    k = min(k, vocab)
    hidden, weight = torch.randn(13, 24, generator=random), torch.randn(vocab, 24, generator=random)
    targets, asked = torch.randint(0, vocab, (13,), generator=random), draw(13, random)
    targets[:2] = torch.tensor([0, vocab - 1])
    head = ops.lm_head_topk(hidden, ops.pack_linear([weight], torch.float32, CPU), k, targets, asked)
    check(head, product(hidden, weight, "exact"), k, targets, asked)


@pytest.mark.parametrize("vocab", [49_152, 151_936])
@pytest.mark.parametrize(("k", "format", "compute"), [(1, "F32", "exact"), (20, "Q8_0", "fast"), (64, "Q5_0", "exact")])
def test_real_vocabularies(
    fast_ops: Kernels, random: torch.Generator, vocab: int, k: int, format: str, compute: Compute
) -> None:
    weight = random_weight(format, vocab, 32, random)
    hidden = torch.randn(5, 32, generator=random)
    targets, asked = torch.randint(0, vocab, (5,), generator=random), draw(5, random)
    head = fast_ops.lm_head_topk(hidden, fast_ops.pack_linear([weight], torch.float32, CPU, compute), k, targets, asked)
    check(head, product(hidden, weight, compute), k, targets, asked)


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 64, 70])
def test_rows(ops: Kernels, random: torch.Generator, rows: int) -> None:
    hidden, weight = torch.randn(rows, 32, generator=random), random_weight("Q8_0", 601, 32, random)
    packed = ops.pack_linear([weight], torch.float32, CPU, "fast")
    logits = product(hidden, weight, "fast")
    check(ops.lm_head_topk(hidden, packed, 3), logits, 3, None, None)
    targets = torch.randint(0, 601, (rows,), generator=random)
    check(ops.lm_head_topk(hidden, packed, 3, targets), logits, 3, targets, None)
    if rows:
        asked = draw(rows, random)
        check(ops.lm_head_topk(hidden, packed, 3, draw=asked), logits, 3, None, asked)


@pytest.mark.parametrize("compute", ["exact", "fast"])
def test_a_vocabulary_of_several_parts(ops: Kernels, random: torch.Generator, compute: Compute) -> None:
    """Parts end inside a tile, with panels that are not full."""
    parts = [random_weight(format, rows, 256, random) for format, rows in (("Q8_0", 401), ("F16", 3), ("Q6_K", 777))]
    hidden = torch.randn(6, 256, generator=random)
    logits = torch.cat([product(hidden, part, compute) for part in parts], dim=1)
    targets, asked = torch.tensor([0, 400, 401, 404, 511, 1180]), draw(6, random)
    head = ops.lm_head_topk(hidden, ops.pack_linear(parts, torch.float32, CPU, compute), 7, targets, asked)
    check(head, logits, 7, targets, asked)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_of_equal_logits_the_lower_token_is_first(compiled: Kernels, random: torch.Generator, threads: int) -> None:
    """Small integers have exact products, and many of them are equal."""
    hidden = torch.randint(-1, 2, (9, 16), generator=random).float()
    hidden[0] = 0
    weight = torch.randint(-1, 2, (2500, 16), generator=random).float()
    packed = compiled.pack_linear([weight], torch.float32, CPU)
    torch.set_num_threads(threads)
    head = compiled.lm_head_topk(hidden, packed, 64)
    expected = (hidden @ weight.t()).sort(dim=-1, descending=True, stable=True)
    assert torch.equal(head.top_logits, expected.values[:, :64])
    assert torch.equal(head.top_ids, expected.indices[:, :64])


def test_without_logits_the_noise_decides(ops: Kernels, random: torch.Generator) -> None:
    rows, vocab = 40, 1003
    asked = draw(rows, random)._replace(temperature=torch.ones(rows))
    packed = ops.pack_linear([torch.randn(vocab, 8, generator=random)], torch.float32, CPU)
    head = ops.lm_head_topk(torch.zeros(rows, 8), packed, 1, None, asked)
    check(head, torch.zeros(rows, vocab, dtype=torch.float64), 1, None, asked)
    assert head.drawn_ids is not None
    assert len(head.drawn_ids.unique()) > rows / 2


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e3, 1e6], ids=str)
@pytest.mark.parametrize("temperature", [1e-3, 1.0, 100.0], ids=str)
def test_logits_and_temperatures_of_any_size(
    ops: Kernels, random: torch.Generator, size: float, temperature: float
) -> None:
    hidden, weight = torch.randn(4, 24, generator=random) * size, torch.randn(1003, 24, generator=random)
    asked = draw(4, random)._replace(temperature=torch.full((4,), temperature))
    head = ops.lm_head_topk(hidden, ops.pack_linear([weight], torch.float32, CPU), 20, None, asked)
    check(head, product(hidden, weight, "exact"), 20, None, asked)


def test_one_token_far_above_the_others(ops: Kernels, random: torch.Generator) -> None:
    weight = torch.randn(1003, 24, generator=random)
    weight[700] *= 40
    hidden = weight[700:701] * torch.tensor([[0.1], [1.0], [-1.0]])
    asked = draw(3, random)
    head = ops.lm_head_topk(hidden, ops.pack_linear([weight], torch.float32, CPU), 5, torch.tensor([700] * 3), asked)
    check(head, product(hidden, weight, "exact"), 5, torch.tensor([700] * 3), asked)


def test_tokens_that_are_stored_alike(ops: Kernels, random: torch.Generator) -> None:
    """Unused rows of an embedding are often zero, or all the same."""
    weight = random_weight("Q8_0", 700, 64, random)
    assert isinstance(weight, BlockTensor)
    weight.data[600:650] = 0
    weight.data[650:] = weight.data[650]
    hidden, asked = torch.randn(8, 64, generator=random), draw(8, random)
    packed = ops.pack_linear([weight], torch.float32, CPU, "fast")
    check(ops.lm_head_topk(hidden, packed, 20, None, asked), product(hidden, weight, "fast"), 20, None, asked)
