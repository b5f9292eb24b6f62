"""Rounds on the CPU end early: no ended row is computed again, and nobody waits long for the end of a round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import BlockingEngine, Engine, Expansion, NonFiniteError, Sampling
from marcot.engine.scheduler import step_runner
from marcot.engine.scheduler.branch import Branch
from marcot.engine.usage import Usage
from marcot.model import Decoder, Drawn, KVCache, Round, StepInput
from torch import Tensor

PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31]
SAMPLE = Sampling(temperature=1.0, top_k=20, top_p=1.0, max_tokens=40, ignore_eos=True, seed=3)


@pytest.fixture
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1), kv_tokens=4096)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that never end because of the time."""
    monkeypatch.setattr(step_runner, "_ROUND_S", math.inf)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of every round, how many tokens it had pages for, and how many it drew."""
    lengths: list[tuple[int, int]] = []
    run = step_runner.run_round

    def noted(decoder: Decoder, cache: KVCache, round: Round, *more: Any) -> Drawn:
        drawn = run(decoder, cache, round, *more)
        lengths.append((round.tokens, drawn.tokens.ids.shape[1]))
        return drawn

    monkeypatch.setattr(step_runner, "run_round", noted)
    return lengths


@pytest.mark.usefixtures("patient")
def test_a_round_grows_from_the_round_before(engine: Engine, rounds: list[tuple[int, int]]) -> None:
    engine.expand(engine.prefill(PROMPT), 3, SAMPLE)
    assert rounds == [(2, 2), (4, 4), (8, 8), (16, 16), (9, 9)]


def test_at_least_one_token_and_few_pages_in_a_slow_round(
    engine: Engine, rounds: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_runner, "_ROUND_S", 0.0)
    engine.expand(engine.prefill(PROMPT), 3, SAMPLE)
    assert rounds == [(2, 1)] * 38 + [(1, 1)]


STOPS = tuple(range(3, 60))
MIXED = {
    "one": [SAMPLE],
    "lengths": [replace(SAMPLE, max_tokens=tokens) for tokens in (1, 2, 3, 17, 40)],
    "stop-tokens": [replace(SAMPLE, stop_token_ids=STOPS, seed=seed) for seed in range(5)],
    "stop-strings": [replace(SAMPLE, stop=("e", "an"), min_tokens=seed % 3, seed=seed) for seed in range(5)],
    "many-ends": [replace(SAMPLE, stop_token_ids=tuple(range(3, 40)), seed=4), SAMPLE],
    "host": [replace(SAMPLE, frequency_penalty=0.5), *[replace(SAMPLE, seed=seed) for seed in range(9)]],
    "wide": [replace(SAMPLE, top_logprobs=100), replace(SAMPLE, top_k=0, top_p=0.9), SAMPLE],
}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", MIXED)
def test_every_row_draws_a_token(engine: Engine, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """No row is computed whose token is not needed: neither of a branch that has ended nor of one that waits."""
    rows = 0
    forward = Decoder.forward

    def counted(decoder: Decoder, step: StepInput, cache: KVCache) -> Tensor:
        nonlocal rows
        rows += len(step.token_ids)
        return forward(decoder, step, cache)

    node = engine.prefill(PROMPT)
    [warm] = engine.expand(node, 1, replace(SAMPLE, max_tokens=1, top_k=0))  # afterwards only branches compute rows
    warm.release()
    before = replace(engine.usage)
    monkeypatch.setattr(Decoder, "forward", counted)
    families = engine.expand([Expansion(node, 2, sampling) for sampling in MIXED[kind]])
    lengths = [len(child.token_ids) for family in families for child in family]
    assert rows == sum(lengths) - len(lengths)
    assert engine.usage.generated_tokens - before.generated_tokens == sum(lengths)
    assert len(set(lengths)) > 1 or kind in ("one", "host", "wide")
    engine.tree.check_integrity()


@pytest.mark.usefixtures("patient")
def test_the_caller_ends_a_round(engine: Engine, rounds: list[tuple[int, int]]) -> None:
    """Between any two tokens, and only as long as it has other things to do."""
    node = engine.prefill(PROMPT)
    branch = engine.routines.scheduler.expand(node.kv, SAMPLE, 0, Usage())
    calls: list[int] = []
    while not branch.finished:
        calls.append(branch.count)
        engine.routines.scheduler.step(lambda: len(calls) < 5)
    assert [drawn for _, drawn in rounds] == [1, 1, 1, 1, 2, 4, 8, 16, 5]
    engine.tree.check_integrity()


@pytest.mark.usefixtures("patient")
def test_who_reads_gets_every_token_at_once(engine: Engine, rounds: list[tuple[int, int]]) -> None:
    node = engine.prefill(PROMPT)
    list(engine.stream_text(node, SAMPLE))
    assert {drawn for _, drawn in rounds} == {1}
    rounds.clear()
    engine.expand(node, 1, SAMPLE)
    assert max(drawn for _, drawn in rounds) == 16


@pytest.mark.usefixtures("patient")
def test_news_for_the_engine_thread_end_a_round(
    engine: Engine, rounds: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = step_runner.run_round
    with BlockingEngine(engine) as serving:

        def cancelled_meanwhile(*arguments: Any) -> Drawn:
            if len(rounds) == 3:
                serving.cancel("long")
            return run(*arguments)

        monkeypatch.setattr(step_runner, "run_round", cancelled_meanwhile)
        [choice] = serving.generate(PROMPT, replace(SAMPLE, max_tokens=400), request_id="long").completions()
    assert choice.finish_reason == "cancelled"
    assert rounds == [(2, 2), (4, 4), (8, 8), (16, 1)]


def spoil(engine: Engine, token: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the state of rows with this token NaN."""
    kernels = engine._scheduler._step_runner._decoder.kernels
    embed = kernels.embed

    def embedded(ids: Tensor, *more: Any) -> Tensor:
        return embed(ids, *more).masked_fill((ids == token)[:, None], math.nan)

    monkeypatch.setattr(kernels, "embed", embedded)


def run(engine: Engine, samples: Sequence[int]) -> list[Branch]:
    """Decode these samples at once, on the scheduler itself: one that fails does not end the others."""
    node = engine.prefill(PROMPT)
    branches = [engine.routines.scheduler.expand(node.kv, SAMPLE, sample, Usage()) for sample in samples]
    while not engine.routines.scheduler.idle:
        engine.routines.scheduler.step()
    return branches


@pytest.mark.usefixtures("patient")
def test_numbers_that_are_not_finite_in_the_middle_of_a_round(
    engine: Engine, rounds: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others draw what they draw without it."""
    expected = [branch.completion().token_ids.tolist() for branch in run(engine, range(5))]
    bad = expected[0][4]
    assert all(bad not in ids for ids in (PROMPT, expected[0][:4], *expected[1:]))
    rounds.clear()
    spoil(engine, bad, monkeypatch)
    first, *rest = run(engine, range(5))
    assert rounds[0] == (16, 5)
    assert isinstance(first.error, NonFiniteError)
    assert f"after {len(PROMPT) + 5} tokens the embedding gives numbers" in str(first.error)
    assert (first.count, first.usage.generated_tokens) == (5, 5)
    assert [branch.completion().token_ids.tolist() for branch in rest] == expected[1:]
    engine.tree.check_integrity()
