"""Two worker processes against one engine."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from marcot.engine import MCTS, Engine, InputError, Outcome, SearchResult
from marcot.engine.errors import WorkerLostError
from marcot.engine.replicas.replica_pool import ReplicaPool

QUICK = MCTS(rollouts=2, max_rollout_tokens=5, action="mini-step-2", width=2)
QUESTIONS = [f"Is it {number}?" for number in range(12)]
DEADLY = """
import os
def value(trace):
    if "deadly" in trace.question:
        os.kill(os.getpid(), 9)
    return 0.5
"""


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2", tokenizer=True))


@pytest.fixture(scope="module")
def pool(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaPool]:
    """Two replicas, which can import the module `deadly_value`."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "deadly_value.py").write_text(DEADLY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.import_module("deadly_value")
        with ReplicaPool(model, ["cpu", "cpu"], kv_tokens=2048) as pool:
            yield pool
        del sys.modules["deadly_value"]


def found(result: SearchResult | None) -> tuple[object, ...]:
    """A result without its cost, which depends on what else ran."""
    assert result is not None
    return result.question, result.answer, result.value, result.rollouts, result.tree, result.best_path


def outcomes(pool: ReplicaPool, questions: list[str], strategy: MCTS = QUICK, **options: int) -> dict[int, Outcome]:
    ended: dict[int, Outcome] = {}
    for event in pool.stream(questions, strategy, **options):
        if isinstance(event, Outcome):
            assert event.index not in ended, "each question has one outcome"
            ended[event.index] = event
    assert sorted(ended) == list(range(len(questions)))
    return ended


def test_two_replicas_find_what_one_engine_finds(pool: ReplicaPool, model: str) -> None:
    engine = Engine.load(model, kv_tokens=2048)
    results = engine.search(QUESTIONS, QUICK)
    before = pool.usage.generated_tokens
    ended = outcomes(pool, QUESTIONS, concurrency=2)
    assert [found(ended[index].result) for index in range(len(QUESTIONS))] == [found(result) for result in results]
    assert pool.usage.generated_tokens - before == engine.usage.generated_tokens
    assert all(replica.usage.generated_tokens for replica in pool._replicas), "both have worked"
    assert (pool.settings, pool.shows_date) == (engine.settings, engine.shows_date)
    assert pool.kv_pages[1] == 2 * engine.kv_pages[1]


def test_workers_that_are_killed_are_replaced_and_nothing_is_lost_or_twice(pool: ReplicaPool, model: str) -> None:
    ended: dict[int, Outcome] = {}
    kills = 0
    for event in pool.stream(QUESTIONS, QUICK, concurrency=3):
        if isinstance(event, Outcome):
            assert event.index not in ended
            ended[event.index] = event
        if kills < 2 and len(ended) >= 3 * kills + 1:
            victim = pool._replicas[kills]._process.pid
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            kills += 1
    assert kills == 2
    results = Engine.load(model, kv_tokens=2048).search(QUESTIONS, QUICK)
    assert [found(ended[index].result) for index in range(len(QUESTIONS))] == [found(result) for result in results]


def test_a_question_that_kills_its_workers_fails_alone(pool: ReplicaPool) -> None:
    value = sys.modules["deadly_value"].value
    strategy = MCTS(rollouts=1, max_rollout_tokens=4, action="mini-step-2", width=1, value=value)
    ended = outcomes(pool, ["One?", "A deadly question?", "Three?"], strategy, concurrency=1)
    assert isinstance(ended[1].error, WorkerLostError)
    assert str(ended[1].error) == "2 workers died while they searched it; the last was ended by signal 9"
    assert ended[0].result is not None
    assert ended[2].result is not None


def test_what_is_abandoned_does_not_reach_the_next_stream(pool: ReplicaPool) -> None:
    stream = pool.stream(QUESTIONS, QUICK)
    next(stream)
    stream.close()
    assert set(outcomes(pool, ["One?", "Two?"])) == {0, 1}


def test_errors_come_through(pool: ReplicaPool, model: str) -> None:
    ended = outcomes(pool, ["word " * 9000, "Two?"])
    assert ended[0].error is not None
    assert "tokens" in str(ended[0].error)
    assert ended[1].result is not None
    with pytest.raises(InputError, match="strategy: cannot be sent to another process"):
        next(pool.stream(["One?"], MCTS(value=lambda trace: 0.5)))
    with pytest.raises(InputError, match="devices=0: must be 1 to 64"):
        ReplicaPool(model, [])
    with pytest.raises(InputError, match="kv_dtype='fp8': the"):
        ReplicaPool(model, ["cpu"], kv_dtype="fp8")
