"""Every contestant draws the branches of a schedule, each after the tokens that it continues."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from marcot.engine import Engine
from support.programs import stand_in_llama_server

from bench.peers.draw import DrawnRows
from bench.search.contestants import llama_server_search, marcot_search, transformers_search
from bench.search.contestants.llama_server_search import SERVER_VARIABLE, LlamaServerSearch
from bench.search.contestants.marcot_search import MarcotSearch
from bench.search.contestants.transformers_search import Generate, HandKeptCache, PublishedLoop, TransformersSearcher
from bench.search.schedule import Branch, Replay, Schedule

SCHEDULES = [
    Schedule(
        [5, 6, 7, 8],
        [
            Branch(0, None, 0, 6),
            Branch(0, None, 0, 4),
            Branch(0, None, 0, 5),
            Branch(1, 0, 3, 4),
            Branch(1, 1, 4, 2),
            Branch(2, 3, 5, 7),
            Branch(2, None, 0, 3),
        ],
    ),
    Schedule([9, 10], [Branch(0, None, 0, 2), Branch(1, 0, 1, 3)]),
]


def chains_of(
    module: object, searcher: object, monkeypatch: pytest.MonkeyPatch, without: int = 0
) -> dict[tuple[int, int], list[int]]:
    """Run a contestant whose `module` imports `Replay`; return its chains by question and branch.

    `without` tokens have no table.
    """
    chains = {}

    class Watched(Replay):
        def finish(self, start, token_ids):
            chains[start.question, start.number] = [*start.prefix, *token_ids]
            return super().finish(start, token_ids)

    monkeypatch.setattr(module, "Replay", Watched)
    searcher.prepare(SCHEDULES)
    delivered = searcher.search()
    assert delivered.tokens == delivered.tables + without == sum(schedule.drawn for schedule in SCHEDULES)
    assert 0 < delivered.confidence < 1
    return chains


def most_probable(logits: torch.Tensor) -> DrawnRows:
    """Always draw the most probable token."""
    logprobs, ids = logits.log_softmax(dim=-1).topk(5, dim=-1)
    return DrawnRows(ids[:, 0], ids, logprobs, logprobs[:, 0].exp() / logprobs.exp().sum(dim=1))


def greedy_chains(model: torch.nn.Module) -> dict[tuple[int, int], list[int]]:
    """The branches of the schedules, drawn greedily and without any cache."""
    chains = {}
    for question, schedule in enumerate(SCHEDULES):
        for index, branch in enumerate(schedule.branches):
            above = schedule.prompt if branch.parent is None else chains[question, branch.parent]
            ids = above[: len(schedule.prompt) + branch.kept]
            for _ in range(branch.tokens):
                ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
            chains[question, index] = ids
    return chains


@pytest.mark.parametrize("kind", [PublishedLoop, Generate, HandKeptCache])
def test_transformers_continue_the_right_tokens(
    kind: type[TransformersSearcher], tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_search, "draw_rows", most_probable)
    monkeypatch.setattr(transformers_search, "TOP_K", 1)
    monkeypatch.setattr(transformers_search, "_faster_dtype", lambda rows: torch.float32)  # bf16 has ties
    searcher = kind(tiny_checkpoint("qwen2", tokenizer=True), torch.get_num_threads())
    assert chains_of(transformers_search, searcher, monkeypatch) == greedy_chains(searcher._model)


def test_a_server_gets_every_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, f"{sys.executable} {stand_in_llama_server.__file__}")
    searcher = LlamaServerSearch(Path("model.gguf"), 1)
    try:
        branches = sum(len(schedule.branches) for schedule in SCHEDULES)
        chains = chains_of(llama_server_search, searcher, monkeypatch, without=branches)
    finally:
        searcher.close()
    for (question, index), chain in chains.items():
        branch = SCHEDULES[question].branches[index]
        prefix = chain[: len(chain) - branch.tokens]
        assert chain[len(prefix) :] == [sum(prefix) + number for number in range(branch.tokens)]


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, f"{sys.executable} -c 'raise SystemExit(\"no such model\")'")
    searcher = LlamaServerSearch(Path("model.gguf"), 1)
    with pytest.raises(RuntimeError, match="no such model"):
        searcher.prepare(SCHEDULES)
    searcher.close()


@pytest.fixture
def marcot(tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> MarcotSearch:
    monkeypatch.setattr(marcot_search, "KV_TOKENS", 8192)
    monkeypatch.setattr(marcot_search, "PREFIX_TOKENS", 32)
    folder = tiny_checkpoint("qwen2", tokenizer=True)
    return MarcotSearch(folder, torch.get_num_threads(), "exact", ["How many?", "How few?"], 4, 24)


def test_marcot_draws_what_was_recorded(marcot: MarcotSearch) -> None:
    schedules = marcot.record()
    marcot.prepare(schedules)
    delivered = marcot.search()
    assert delivered.tokens == sum(schedule.drawn for schedule in schedules)
    assert 0 < delivered.tables <= delivered.tokens


def test_the_parts_of_a_search_are_all_of_it(marcot: MarcotSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []
    search = Engine.search

    def timed(*arguments, **named):
        begun = time.perf_counter()
        results = search(*arguments, **named)
        seconds.append(time.perf_counter() - begun)
        return results

    monkeypatch.setattr(Engine, "search", timed)
    shares = marcot.time_shares()
    assert min(shares.values()) > 0
    assert seconds[-1] <= sum(shares.values()) < seconds[-1] + 1


def test_questions_in_flight_are_measured_beside_decoding(marcot: MarcotSearch) -> None:
    found = marcot.in_flight(["How many?", "How few?", "How much?"], concurrency=2, seconds=0.3)
    assert found["tokens_per_s"] > 0
    assert found["decode_tokens_per_s"] > 0
    assert 1 <= found["rows"] <= 8
