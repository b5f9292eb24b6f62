"""Recorded decode steps against the same steps run as they are: padded, cut, repeated on other input, grown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from marcot.kernels import Draw, HeadTopK, Plan, WorkItem
from marcot.kernels.triton.attention_tiles import cut
from marcot.model import PAGE_SIZE, DecodeGraphs, Decoder, KVCache, Step, decode_graphs, load_checkpoint
from marcot.model.decode_graph import BUCKETS, Run
from tape import Tape
from tiled_reference import TiledReference
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
    """A prefix of `PREFIX` tokens in the first pages; NaN in all others."""
    cache = KVCache(decoder.config, PAGES, torch.float32, CPU)
    cache.k.fill_(torch.nan)
    cache.v.fill_(torch.nan)
    items = [WorkItem(0, 0, 0, PREFIX, 0, PREFIX)]
    plan = Plan(*map(int32, (range(PREFIX), items, range(-(-PREFIX // PAGE_SIZE)))))
    ids = torch.randint(3, 331, (PREFIX,), generator=torch.Generator().manual_seed(0))
    decoder.forward(Step(ids, torch.arange(PREFIX), plan, torch.tensor([PREFIX - 1])), cache)
    return cache


def int32(values: object) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int32)  # type: ignore[call-overload]


def first_tokens(rows: int, seed: int, *, prefix: int = PREFIX) -> Step:
    """Every row is the first token of a branch, in a page of its own, behind the first `prefix` tokens."""
    first_page = -(-PREFIX // PAGE_SIZE)
    own = range(first_page, first_page + rows)
    pages = [*range(first_page), *own]
    items = [
        WorkItem(0, 0, 0, prefix, 0, rows),
        *(WorkItem(first_page + row, 0, prefix, 1, row, 1) for row in range(rows)),
    ]
    plan = Plan(int32([prefix] * rows), int32(items), int32(pages))
    ids = torch.randint(3, 331, (rows,), generator=torch.Generator().manual_seed(seed))
    return Step(ids, torch.tensor([page * PAGE_SIZE for page in own]), plan, torch.arange(rows))


def tiled(step: Step, decoder: Decoder) -> Step:
    config = decoder.config
    tiling = decoder.kernels.tiling(config.num_heads, config.num_kv_heads)
    tiles = cut(step.plan, PAGE_SIZE, config.num_heads // config.num_kv_heads, tiling)
    return step._replace(plan=step.plan._replace(tiles=tiles))


def draws(rows: int, seed: int) -> Draw:
    random = torch.Generator().manual_seed(seed)
    keys = torch.randint(-(2**62), 2**62, (rows,), generator=random)
    temperature = torch.rand(rows, generator=random) + 0.5
    return Draw(temperature.where(torch.arange(rows) % 3 != 1, 0), keys, torch.full((rows,), PREFIX + 1))


def plain(decoder: Decoder, cache: KVCache, step: Step, draw: Draw | None, k: int) -> tuple[Tensor, HeadTopK]:
    hidden = decoder.forward(step, cache)
    return hidden, decoder.kernels.lm_head_topk(hidden, decoder.head, k, draw=draw)


def copy_of(cache: KVCache, decoder: Decoder) -> KVCache:
    copy = KVCache(decoder.config, PAGES, torch.float32, CPU)
    copy.k.copy_(cache.k)
    copy.v.copy_(cache.v)
    return copy


def check(graphs: DecodeGraphs, decoder: Decoder, cache: KVCache, step: Step, draw: Draw | None, k: int) -> None:
    """`graphs`, which writes to `cache`, gives what the plain step gives, and writes what it writes."""
    other = copy_of(cache, decoder)
    hidden, expected = plain(decoder, other, step, draw, k)
    step = tiled(step, decoder)
    assert graphs.takes(step)
    got = graphs.run(step, draw, k)
    assert got is not None
    for ours, theirs in ((got.hidden, hidden), (cache.k, other.k), (cache.v, other.v)):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, equal_nan=True)
    head = got.head
    assert head.top_ids.shape[1] >= k
    torch.testing.assert_close(head.top_ids[:, :k], expected.top_ids)
    torch.testing.assert_close(head.top_logits[:, :k], expected.top_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(head.lse, expected.lse, atol=1e-5, rtol=1e-5)
    assert head.target_logits is None
    if draw is None:
        assert head.drawn_ids is head.drawn_logits is head.scaled_lse is None
        return
    drawing = draw.temperature > 0
    for name in ("drawn_ids", "drawn_logits", "scaled_lse"):
        ours, theirs = getattr(head, name), getattr(expected, name)
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours[drawing], theirs[drawing], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 9, 17, 25, 33, 49, 65])
@pytest.mark.parametrize("drawing", [False, True], ids=["top-k", "draw"])
def test_padded_equals_plain(decoder: Decoder, cache: KVCache, rows: int, drawing: bool) -> None:
    graphs = DecodeGraphs(decoder, cache, Tape(), most_rows=65)
    check(graphs, decoder, cache, first_tokens(rows, seed=rows), draws(rows, rows) if drawing else None, k=5)


@pytest.mark.parametrize("k", [1, 5, 8, 9, 20, 64])
def test_any_number_of_candidates(decoder: Decoder, cache: KVCache, k: int) -> None:
    check(DecodeGraphs(decoder, cache, lambda run: run, 8), decoder, cache, first_tokens(3, seed=1), draws(3, 1), k)


def test_steps_of_any_kind_one_after_the_other(decoder: Decoder, cache: KVCache) -> None:
    """What an earlier, larger step has left in the buffers changes nothing."""
    random, graphs = Random(0), DecodeGraphs(decoder, cache, Tape(), most_rows=32)
    for seed in range(30):
        rows = random.randint(1, 32)
        step = first_tokens(rows, seed, prefix=random.randint(1, PREFIX))
        check(graphs, decoder, cache, step, random.choice([None, draws(rows, seed)]), random.choice([5, 20]))


def test_recorded_once_and_the_largest_first(decoder: Decoder, cache: KVCache) -> None:
    tape = Tape()
    graphs = DecodeGraphs(decoder, cache, tape, most_rows=20)
    for rows in (3, 4, 3, 12, 9, 1, 20):
        check(graphs, decoder, cache, first_tokens(rows, seed=rows), None, k=5)
    assert tape.rows == [24, 4, 16, 1]
    check(graphs, decoder, cache, first_tokens(3, seed=0), None, k=20)
    check(graphs, decoder, cache, first_tokens(3, seed=0), draws(3, 0), k=3)
    assert tape.rows == [24, 4, 16, 1, 4, 4], "other candidates and draws are other graphs"


def test_recorded_anew_where_tables_grow(decoder: Decoder, cache: KVCache) -> None:
    tape = Tape()
    graphs = DecodeGraphs(decoder, cache, tape, most_rows=1)
    for holes in (0, 20, 30, 10, 60, 100, 70):
        step = tiled(first_tokens(1, seed=holes), decoder)
        tiles = step.plan.tiles
        assert tiles is not None
        moved = tiles.tiles.clone()
        moved[:, 0] += holes
        slots = torch.cat((torch.full((holes,), -(2**31), dtype=torch.int32), tiles.slots))
        plan = step.plan._replace(tiles=tiles._replace(tiles=moved, slots=slots))
        expected, _ = plain(decoder, cache, step, None, 5)
        got = graphs.run(step._replace(plan=plan), None, 5)
        assert got is not None
        torch.testing.assert_close(got.hidden, expected, atol=1e-5, rtol=1e-5)
    assert tape.rows == [1, 1, 1], "once more for 68 slots and for 138, never for fewer"


def test_the_largest_graph_writes_nothing_before_its_time(decoder: Decoder, cache: KVCache) -> None:
    """It is recorded on input that is all padding."""
    before = copy_of(cache, decoder)
    graphs = DecodeGraphs(decoder, cache, Tape(), most_rows=8)
    step = first_tokens(1, seed=0)
    check(graphs, decoder, cache, step, None, k=5)
    page = int(step.slots) // PAGE_SIZE
    for ours, theirs in ((cache.k, before.k), (cache.v, before.v)):
        ours[:, page] = torch.nan
        torch.testing.assert_close(ours, theirs, atol=0, rtol=0, equal_nan=True)


def test_what_cannot_be_recorded(decoder: Decoder, cache: KVCache, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(run: Run) -> Run:
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = DecodeGraphs(decoder, cache, refuse)
    step = tiled(first_tokens(2, seed=0), decoder)
    assert graphs.takes(step)
    assert graphs.run(step, None, 5) is None
    assert not graphs.takes(step)
    said = capsys.readouterr().err
    assert said == "decoding without CUDA graphs: operation not permitted when stream is capturing\n"


def test_what_is_not_taken(decoder: Decoder, cache: KVCache) -> None:
    graphs = DecodeGraphs(decoder, cache, Tape(), most_rows=10)
    assert not graphs.takes(first_tokens(2, seed=0)), "no tiles"
    assert graphs.takes(tiled(first_tokens(16, seed=0), decoder))
    assert not graphs.takes(tiled(first_tokens(17, seed=0), decoder))
    assert decode_graphs(decoder, cache, 256) is None, "there is no graph on the CPU"


def test_buckets_waste_little() -> None:
    for rows in range(17, BUCKETS[-1] + 1):
        assert min(bucket for bucket in BUCKETS if bucket >= rows) <= 1.5 * rows
