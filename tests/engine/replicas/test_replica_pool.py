"""Two worker processes against one engine."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from marcot.engine import MCTS, Engine, InputError, Outcome, SearchResult
from marcot.engine.errors import EngineBusyError, EngineClosedError, WorkerLostError
from marcot.engine.replicas import replica_pool, stragglers
from marcot.engine.replicas.process_replica import ProcessReplica
from marcot.engine.replicas.replica_device import ReplicaDevice, name_devices
from marcot.engine.replicas.replica_pool import ReplicaPool
from marcot.engine.search import Progress

QUICK = MCTS(rollouts=2, max_rollout_tokens=5, action="mini-step-2", width=2)
QUESTIONS = [f"Is it {number}?" for number in range(12)]
DEADLY = """
import os
def value(trace):
    if "deadly" in trace.question:
        os.kill(os.getpid(), 9)
    if "slow" in trace.question:
        try:
            os.close(os.open(os.environ["SLOW"] + ".begun", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return 0.5
        open(os.environ["SLOW"]).close()  # until somebody writes to this pipe
    if "odd" in trace.question:
        from marcot.engine.replicas import question_worker
        question_worker.ReplicaEvent = None
    return 0.5
"""
LEFT_OPEN = """
import sys
from marcot import MCTS, ReplicaPool
if __name__ == "__main__":
    pool = ReplicaPool(sys.argv[1], ["cpu"], kv_tokens=2048)
    print(next(pool.stream(["One?"], MCTS(rollouts=1, max_rollout_tokens=4))).index)
"""


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2", tokenizer=True))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipe that holds up the first worker that rates a slow question until it is written to."""
    pipe = tmp_path_factory.mktemp("slow") / "pipe"
    os.mkfifo(pipe)
    return pipe


@pytest.fixture(scope="module")
def pool(model: str, tmp_path_factory: pytest.TempPathFactory, slow: Path) -> Iterator[ReplicaPool]:
    """Two replicas, which can import the module `deadly_value`."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "deadly_value.py").write_text(DEADLY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("SLOW", str(slow))
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


def test_an_unexpected_error_ends_the_worker_and_not_the_run(pool: ReplicaPool) -> None:
    value = sys.modules["deadly_value"].value
    strategy = MCTS(rollouts=1, max_rollout_tokens=4, action="mini-step-2", width=1, value=value)
    ended = outcomes(pool, ["One?", "An odd question?"], strategy, concurrency=1)
    assert str(ended[1].error) == "2 workers died while they searched it; the last exited with code 1"
    assert ended[0].result is not None


def test_an_idle_replica_takes_over_a_question_that_does_not_end(
    pool: ReplicaPool, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stragglers, "_LEAST_SECONDS", 0.0)
    value = sys.modules["deadly_value"].value
    strategy = MCTS(rollouts=1, max_rollout_tokens=4, action="mini-step-2", width=1, value=value)
    ended = outcomes(pool, ["A slow question?", "Two?", "Three?"], strategy, concurrency=1)
    assert Path(f"{slow}.begun").exists()
    assert [ended[index].error for index in range(3)] == [None] * 3
    with slow.open("w"):  # the other replica goes on, and what it finds is nobody's
        pass
    assert set(outcomes(pool, QUESTIONS, concurrency=1)) == set(range(len(QUESTIONS)))


def test_a_worker_that_dies_while_it_loads_is_replaced_but_not_for_ever(
    pool: ReplicaPool, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = iter(range(2))

    def kill(replica: ProcessReplica) -> None:
        os.kill(replica._process.pid, signal.SIGKILL)

    class Dying(ProcessReplica):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            if next(deaths, None) is not None:
                kill(self)

    monkeypatch.setattr(pool._replicas[0], "replace", lambda: Dying(*pool._replicas[0]._made_of))
    kill(pool._replicas[0])
    assert len(outcomes(pool, QUESTIONS, concurrency=2)) == len(QUESTIONS)
    pool._load(least=2)
    assert next(deaths, None) is None
    deaths = iter(range(3))
    monkeypatch.setattr(replica_pool, "ProcessReplica", Dying)
    told = "replica 1 was ended by signal 9 while it loaded .*, 3 times in a row"
    with pytest.raises(WorkerLostError, match=told):
        ReplicaPool(model, ["cpu"], kv_tokens=2048)


def test_progress_counts_the_questions_of_the_call(pool: ReplicaPool) -> None:
    finished = 0
    for event in pool.stream(QUESTIONS, QUICK, concurrency=2):
        if isinstance(event, Outcome):
            finished += 1
        else:
            assert (event.finished, event.total) == (finished, len(QUESTIONS))
            assert 1 <= event.running <= 4
    assert finished == len(QUESTIONS)


def test_a_question_of_a_wrong_type_fails_alone_and_an_iterator_that_fails_ends_the_others_first(
    pool: ReplicaPool, model: str
) -> None:
    def asked() -> Iterator[Any]:
        yield from ("One?", 2)
        raise ZeroDivisionError

    engine = Engine.load(model, kv_tokens=2048)
    for searcher in (engine, pool):
        events: list[Progress | Outcome] = []
        with pytest.raises(ZeroDivisionError):
            events.extend(searcher.stream(asked(), QUICK))
        ended = [event for event in events if isinstance(event, Outcome)]
        assert sorted((each.index, each.question, each.error is None) for each in ended) == [
            (0, "One?", True),
            (1, "2", False),
        ]


def test_a_pool_that_nobody_closes_ends_with_its_program(model: str, tmp_path: Path) -> None:
    (tmp_path / "left_open.py").write_text(LEFT_OPEN)
    command = [sys.executable, "left_open.py", model]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")


def test_what_is_abandoned_does_not_reach_the_next_stream(pool: ReplicaPool) -> None:
    stream = pool.stream(QUESTIONS, QUICK)
    next(stream)
    stream.close()
    assert set(outcomes(pool, ["One?", "Two?"])) == {0, 1}


def test_a_gpu_is_counted_among_those_that_this_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert ReplicaDevice.parse("cuda:1") == ("cuda", {"CUDA_VISIBLE_DEVICES": "1"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-7")
    assert ReplicaDevice.parse("cuda:1") == ("cuda", {"CUDA_VISIBLE_DEVICES": "GPU-7"})
    assert ReplicaDevice.parse("auto") == ReplicaDevice.parse("cuda") == ("cuda", {})
    with pytest.raises(InputError, match="one of the 2 GPUs"):
        ReplicaDevice.parse("cuda:2")
    assert name_devices("auto", 2) == name_devices("cuda", 2) == name_devices("cuda:0,cuda:1", None)
    assert name_devices("cpu", 3) == ["cpu"] * 3
    for device, replicas, message in (
        ("auto", 3, "this machine has 2 GPUs"),
        ("cuda:1", 2, "name a device for each, such as --device cuda:0,cuda:1"),
        ("cuda:0,cuda:1", 3, "--device names 2; leave --replicas out"),
    ):
        with pytest.raises(InputError, match=message):
            name_devices(device, replicas)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert name_devices("auto", 2) == ["cpu", "cpu"]


def test_a_pool_that_is_closed_says_so(model: str) -> None:
    closed = ReplicaPool(model, ["cpu"], kv_tokens=2048)
    stream = closed.stream(QUESTIONS, QUICK)
    next(stream)
    closed.close()
    for events in (stream, closed.stream(["One?"], QUICK)):
        with pytest.raises(EngineClosedError, match="this pool is closed"):
            list(events)


def test_two_streams_of_a_pool_do_not_get_each_others_results(pool: ReplicaPool) -> None:
    stream = pool.stream(QUESTIONS, QUICK)
    first = next(stream)
    with pytest.raises(EngineBusyError, match="searching another stream"):
        next(pool.stream(["One?", "Two?"], QUICK))
    ended = [event.index for event in (first, *stream) if isinstance(event, Outcome)]
    assert sorted(ended) == list(range(len(QUESTIONS)))
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
    for devices, message in (
        ("cpu", r"devices='cpu': must be a list, such as \['cpu'\] \* 2"),
        (["cpu:1"], f"device='cpu:1': must be auto, cpu, cuda, or one of the {torch.cuda.device_count()} GPUs"),
        (["tpu"], "device='tpu': must be auto, cpu or cuda"),
    ):
        with pytest.raises(InputError, match=message):
            ReplicaPool(model, devices)
    with pytest.raises(InputError, match="threads=0: must be at least 1"):
        ReplicaPool(model, ["cpu", "cpu"], threads=0)
    with pytest.raises(InputError, match="this is a class, not an instance"):
        next(pool.stream(["One?"], MCTS))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="kv_dtype='fp8': the"):
        ReplicaPool(model, ["cpu"], kv_dtype="fp8")
