"""Recorded rounds against the same rounds without recording: padded, cut short, repeated on other input, grown."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from marcot.kernels import Plan, SampleParams, WorkItem
from marcot.kernels.triton.attention.tiles import cut
from marcot.model import (
    PAGE_SIZE,
    ROUND_ENDS,
    DecodeGraphs,
    Decoder,
    Drawn,
    KVCache,
    Round,
    StepInput,
    decode_graphs,
    load_checkpoint,
    run_round,
)
from marcot.model.rounds.decode_graph import BUCKETS, Run
from support.kernels.graph_recorder import GraphRecorder
from support.kernels.tiled_reference import TiledReference
from torch import Tensor

CPU = torch.device("cpu")
PREFIX = 37
PAGES = 80


@pytest.fixture(scope="module")
def decoder(tiny_checkpoint: Callable[..., Path]) -> Decoder:
    with load_checkpoint(tiny_checkpoint("qwen2", num_hidden_layers=2)) as checkpoint:
        return Decoder(checkpoint, TiledReference(), torch.float32, CPU)


@pytest.fixture
def cache(decoder: Decoder) -> KVCache:
    """A prefix of `PREFIX` tokens in the first pages, and NaN in all others."""
    cache = KVCache(decoder.config, PAGES, torch.float32, CPU)
    cache.k.fill_(torch.nan)
    cache.v.fill_(torch.nan)
    items = [WorkItem(0, 0, 0, PREFIX, 0, PREFIX)]
    plan = Plan(*map(int32, (range(PREFIX), items, range(-(-PREFIX // PAGE_SIZE)))))
    ids = torch.randint(3, 331, (PREFIX,), generator=torch.Generator().manual_seed(0))
    decoder.forward(StepInput(ids, torch.arange(PREFIX), plan, torch.tensor([PREFIX - 1])), cache)
    return cache


def int32(values: object) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int32)  # type: ignore[call-overload]


def first_tokens(rows: int, seed: int, *, prefix: int = PREFIX, tokens: int = 1) -> StepInput:
    """Every row is the first token of a branch below a common prefix, on its own page with room for `tokens`."""
    first_page = -(-PREFIX // PAGE_SIZE)
    own = range(first_page, first_page + rows)
    pages = [*range(first_page), *own]
    items = [
        WorkItem(0, 0, 0, prefix, 0, rows),
        *(WorkItem(first_page + row, 0, prefix, tokens, row, 1) for row in range(rows)),
    ]
    plan = Plan(int32([prefix] * rows), int32(items), int32(pages))
    ids = torch.randint(3, 331, (rows,), generator=torch.Generator().manual_seed(seed))
    return StepInput(ids, torch.tensor([page * PAGE_SIZE for page in own]), plan, torch.arange(rows))


def tiled(step: StepInput, decoder: Decoder, tokens: int = 1) -> StepInput:
    config = decoder.config
    tiling = decoder.kernels.tiling(config.num_heads, config.num_kv_heads)
    later = step.plan._replace(positions=step.plan.positions + tokens - 1)
    tiles = cut(later, PAGE_SIZE, config.num_heads // config.num_kv_heads, tiling)
    return step._replace(plan=step.plan._replace(tiles=tiles))


def round_of(step: StepInput, decoder: Decoder, drawing: bool, k: int, tokens: int = 1, seed: int = 0) -> Round:
    """Rows that sample in different ways, end at different tokens or lengths, or wait for the host."""
    rows, random = len(step.token_ids), torch.Generator().manual_seed(seed)
    number = torch.arange(rows)
    temperature = (torch.rand(rows, generator=random) + 0.5).where(number % 3 != 1, 0)
    params = SampleParams(
        temperature,
        torch.where(number % 2 == 0, 0 if drawing else k, min(5, k)).int(),
        torch.where(number % 5 == 2, 0.9, 1.0).double(),
        torch.zeros(rows),
        torch.where(number % 7 == 5, 0, k).int(),
        torch.randint(-(2**62), 2**62, (rows,), generator=random),
        step.plan.positions.long() + 1,
    )
    ends = torch.full((rows, ROUND_ENDS), -1)
    ends[:, :5] = torch.randint(0, 331, (rows, 5), generator=random)
    limit = torch.randint(0, tokens + 1, (rows,), generator=random).int()
    next_places = step.slots[:, None] + 1 + torch.arange(tokens)
    draw_temperature = temperature.where(params.top_k == 0, 0) if drawing else None
    return Round(tokens, tiled(step, decoder, tokens), next_places, params, draw_temperature, ends, limit, k)


def copy_of(cache: KVCache, decoder: Decoder) -> KVCache:
    copy = KVCache(decoder.config, PAGES, torch.float32, CPU)
    copy.k.copy_(cache.k)
    copy.v.copy_(cache.v)
    return copy


def check(graphs: DecodeGraphs, decoder: Decoder, cache: KVCache, round: Round) -> Drawn:
    """Check that `graphs`, which writes to `cache`, gives the same results as the plain round, and writes the same K
    and V.
    """
    other = copy_of(cache, decoder)
    expected = run_round(decoder, other, deepcopy(round))
    assert graphs.takes(round)
    wait = graphs.launch(round)
    assert wait is not None
    got = wait()
    for ours, theirs in ((got.hidden, expected.hidden), (cache.k, other.k), (cache.v, other.v)):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, equal_nan=True)
    np.testing.assert_array_equal(got.counts, expected.counts)
    np.testing.assert_array_equal(got.waits, expected.waits)
    assert got.tokens.top_ids.shape[2] >= round.candidates
    drawn = np.arange(round.tokens) < expected.counts[:, None]
    for name in ("ids", "logits", "lse", "top_ids", "top_logits"):
        ours, theirs = getattr(got.tokens, name)[drawn], getattr(expected.tokens, name)[drawn]
        np.testing.assert_allclose(ours[..., : theirs.shape[-1]], theirs, atol=1e-5, rtol=1e-5)
    return expected


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 9, 17, 25, 33, 49, 65])
@pytest.mark.parametrize("drawing", [False, True], ids=["top-k", "draw"])
def test_padded_equals_plain(decoder: Decoder, cache: KVCache, rows: int, drawing: bool) -> None:
    graphs = DecodeGraphs(decoder, cache, GraphRecorder(), most_rows=65)
    tokens = 1 + rows % 4
    step = first_tokens(rows, seed=rows, tokens=tokens)
    check(graphs, decoder, cache, round_of(step, decoder, drawing, 5, tokens, seed=rows))


def test_a_whole_page(decoder: Decoder, cache: KVCache) -> None:
    """Some rows draw all of the tokens, some end before, and some wait for the host from the first token on."""
    graphs = DecodeGraphs(decoder, cache, GraphRecorder(), most_rows=48)
    round = round_of(first_tokens(40, seed=1, tokens=PAGE_SIZE), decoder, True, 20, PAGE_SIZE)
    limit = torch.where(torch.arange(40) < 20, PAGE_SIZE, round.limit).int()
    got = check(graphs, decoder, cache, round._replace(limit=limit))
    assert (got.counts == PAGE_SIZE).any()
    assert ((got.counts > 0) & (got.counts < limit.numpy())).any(), "an end token"
    assert got.waits.any()


@pytest.mark.parametrize("k", [1, 5, 8, 9, 20, 64])
def test_any_number_of_candidates(decoder: Decoder, cache: KVCache, k: int) -> None:
    graphs = DecodeGraphs(decoder, cache, lambda run: run, 8)
    check(graphs, decoder, cache, round_of(first_tokens(3, seed=1), decoder, True, k))


def test_rounds_of_any_kind_one_after_the_other(decoder: Decoder, cache: KVCache) -> None:
    """What an earlier, larger step has left in the buffers changes nothing."""
    random, graphs = Random(0), DecodeGraphs(decoder, cache, GraphRecorder(), most_rows=32)
    for seed in range(30):
        rows = random.randint(1, 32)
        tokens = random.randint(1, 4)
        step = first_tokens(rows, seed, prefix=random.randint(1, PREFIX), tokens=tokens)
        check(graphs, decoder, cache, round_of(step, decoder, seed % 2 == 0, random.choice([5, 20]), tokens, seed))


def test_recorded_once_and_the_largest_first(decoder: Decoder, cache: KVCache) -> None:
    recorder = GraphRecorder()
    graphs = DecodeGraphs(decoder, cache, recorder, most_rows=20)
    for rows in (3, 4, 3, 12, 9, 1, 20):
        check(graphs, decoder, cache, round_of(first_tokens(rows, seed=rows), decoder, False, 5))
    assert recorder.rows == [24, 4, 16, 1]
    check(graphs, decoder, cache, round_of(first_tokens(3, seed=0), decoder, False, 20))
    check(graphs, decoder, cache, round_of(first_tokens(3, seed=0), decoder, True, 3))
    assert recorder.rows == [24, 4, 16, 1, 4, 4], "other candidates and draws are other graphs"


def test_recorded_anew_where_tables_grow(decoder: Decoder, cache: KVCache) -> None:
    recorder = GraphRecorder()
    graphs = DecodeGraphs(decoder, cache, recorder, most_rows=1)
    for holes in (0, 20, 30, 10, 60, 100, 70):
        step = tiled(first_tokens(1, seed=holes), decoder)
        tiles = step.plan.tiles
        assert tiles is not None
        moved = tiles.tiles.clone()
        moved[:, 0] += holes
        slots = torch.cat((torch.full((holes,), -(2**31), dtype=torch.int32), tiles.slots))
        plan = step.plan._replace(tiles=tiles._replace(tiles=moved, slots=slots))
        round = round_of(step, decoder, False, 5)
        check(graphs, decoder, cache, round._replace(step=step._replace(plan=plan)))
    assert recorder.rows == [1, 1, 1], "once more for 68 slots and for 138, never for fewer"


def test_the_largest_graph_writes_nothing_before_its_time(decoder: Decoder, cache: KVCache) -> None:
    """It is recorded with padding as its only input."""
    before = copy_of(cache, decoder)
    graphs = DecodeGraphs(decoder, cache, GraphRecorder(), most_rows=8)
    step = first_tokens(1, seed=0)
    check(graphs, decoder, cache, round_of(step, decoder, False, 5))
    page = int(step.slots) // PAGE_SIZE
    for ours, theirs in ((cache.k, before.k), (cache.v, before.v)):
        ours[:, page] = torch.nan
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0, equal_nan=True)


def test_what_cannot_be_recorded(decoder: Decoder, cache: KVCache, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(run: Run) -> Run:
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = DecodeGraphs(decoder, cache, refuse)
    round = round_of(first_tokens(2, seed=0), decoder, False, 5)
    assert graphs.takes(round)
    assert graphs.launch(round) is None
    assert not graphs.takes(round)
    assert caplog.messages == ["decoding without CUDA graphs: operation not permitted when stream is capturing"]


def test_steps_that_are_not_recorded(decoder: Decoder, cache: KVCache) -> None:
    graphs = DecodeGraphs(decoder, cache, GraphRecorder(), most_rows=10)
    small, large = (round_of(first_tokens(rows, seed=0), decoder, False, 5) for rows in (16, 17))
    assert graphs.takes(small)
    assert not graphs.takes(large)
    no_tiles = small.step._replace(plan=small.step.plan._replace(tiles=None))
    assert not graphs.takes(small._replace(step=no_tiles))
    assert decode_graphs(decoder, cache, 256) is None, "there is no graph on the CPU"


def test_buckets_waste_little() -> None:
    for rows in range(17, BUCKETS[-1] + 1):
        assert min(bucket for bucket in BUCKETS if bucket >= rows) <= 1.5 * rows
