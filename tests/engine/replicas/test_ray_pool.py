"""Two actors of a Ray cluster on this machine against one engine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, Engine, InputError, Outcome

ray = pytest.importorskip("ray", reason="needs Ray: make test-adapters")

from marcot.engine.adapters.ray_data import SearchBatches  # noqa: E402
from marcot.engine.cli.options.model import ModelOptions  # noqa: E402
from marcot.engine.cli.options.replicas import ReplicaOptions  # noqa: E402
from marcot.engine.replicas.ray_pool import RayPool  # noqa: E402

QUICK = MCTS(rollouts=2, max_rollout_tokens=5, action="mini-step-2", width=2)
QUESTIONS = [f"Is it {number}?" for number in range(40)]


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Callable[..., Path]) -> str:
    return str(tiny_checkpoint("qwen2", tokenizer=True))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        address="local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def pool(cluster: None, model: str) -> Iterator[RayPool]:
    with RayPool(model, 2, kv_tokens=2048) as pool:
        pool._load(least=2)
        yield pool


def found(path: Path) -> list[dict[str, Any]]:
    """The results in a file in the order of their questions, without their costs."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        del line["stats"]
    return sorted(lines, key=lambda line: line["index"])


def process(actor: Any) -> int:
    """The id of an actor's process."""
    number: int = ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))
    return number


def kill(actor: Any) -> None:
    """Kill the process of an actor."""
    os.kill(process(actor), signal.SIGKILL)


def test_actors_write_what_one_engine_writes_also_if_they_die(pool: RayPool, model: str, tmp_path: Path) -> None:
    Engine.load(model, kv_tokens=2048).run(QUESTIONS, QUICK, out=tmp_path / "one.jsonl")
    pool.run(QUESTIONS, QUICK, out=tmp_path / "two.jsonl", concurrency=2)
    assert found(tmp_path / "two.jsonl") == found(tmp_path / "one.jsonl")
    assert all(replica.usage.generated_tokens for replica in pool._replicas), "both have worked"

    ended = 0

    def show(event: Any) -> None:
        nonlocal ended
        ended += event.entry is not None
        if event.entry is not None and ended in (5, 15):
            kill(pool._replicas[ended == 15]._actor)

    tally = pool.run(QUESTIONS, QUICK, out=tmp_path / "killed.jsonl", concurrency=2, show=show)
    assert (tally.finished, tally.failed) == (len(QUESTIONS), 0)
    assert found(tmp_path / "killed.jsonl") == found(tmp_path / "one.jsonl")
    pool._load(least=2)


def test_an_actor_that_died_and_came_back_while_nobody_looked_works_again(pool: RayPool) -> None:
    events = pool.stream(QUESTIONS, QUICK, concurrency=2)
    ended = [event.index for event in (next(events),) if isinstance(event, Outcome)]
    gone: Any = pool._replicas[0]
    ray.wait([gone.pending], timeout=60)  # it has reported, and the pool has not looked yet
    before = process(gone._actor)
    os.kill(before, signal.SIGKILL)
    while True:
        with suppress(ray.exceptions.RayError):
            if process(gone._actor) != before:
                break
    ended += [event.index for event in events if isinstance(event, Outcome)]
    assert sorted(ended) == list(range(len(QUESTIONS)))
    assert pool._replicas[0] is not gone
    pool._load(least=2)


def test_an_actor_that_is_taken_for_lost_begins_again_in_a_new_process(pool: RayPool) -> None:
    lost: Any = pool._replicas[0]
    before = process(lost._actor)
    pool._replace(lost, None)
    pool._load(least=2)
    assert process(lost._actor) != before
    events = pool.stream(QUESTIONS[:8], QUICK, concurrency=2)
    assert sum(isinstance(event, Outcome) for event in events) == 8


def test_a_question_that_fails_does_not_end_the_others(pool: RayPool) -> None:
    asked = ["word " * 9000, "Two?", 3]
    ended = {event.index: event for event in pool.stream(asked, QUICK) if isinstance(event, Outcome)}
    assert {index: event.error is None for index, event in ended.items()} == {0: False, 1: True, 2: False}


def test_bad_input(pool: RayPool, model: str, tmp_path: Path) -> None:
    for arguments, message in (
        ({"device": "cuda:1"}, "Ray chooses which GPU"),
        ({"device": "cuda"}, "replicas=0: the cluster has 0 GPUs"),
        ({"replicas": 3}, "replicas=3: the cluster has 2 cores, and each replica takes 1"),
        ({"replicas": 2, "threads": 2}, "each replica takes 2"),
        ({"replicas": 0}, "replicas=0: must be 1 to"),
    ):
        with pytest.raises(InputError, match=message):
            RayPool(model, **arguments)
    assert ray.is_initialized(), "a cluster that others have joined stays"


def test_a_model_that_no_actor_can_load_is_an_error(cluster: None, pool: RayPool, tmp_path: Path) -> None:
    pool.close()
    with pytest.raises(InputError, match="kv_dtype='fp8': the"):
        RayPool(str(pool._model), 1, kv_dtype="fp8")


def test_the_command_line_opens_a_pool_on_ray(cluster: None, pool: RayPool) -> None:
    pool.close()
    with ReplicaOptions(replicas=1, ray="local").open(str(pool._model), ModelOptions(kv_tokens=2048)) as opened:
        assert isinstance(opened, RayPool)
        assert sum(isinstance(event, Outcome) for event in opened.stream(QUESTIONS, QUICK)) == len(QUESTIONS)


def test_batches_of_ray_data_get_columns(cluster: None, pool: RayPool, model: str) -> None:
    pool.close()
    import ray.data

    rows = [{"question": question, "id": number} for number, question in enumerate(QUESTIONS[:5])] + [
        {"question": "word " * 9000, "id": 5}
    ]
    batches = ray.data.from_items(rows).map_batches(
        SearchBatches,
        fn_constructor_kwargs={"model": model, "strategy": QUICK, "kv_tokens": 2048},
        batch_size=3,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    ended = sorted(batches.take_all(), key=lambda row: row["id"])
    results = Engine.load(model, kv_tokens=2048).search(QUESTIONS[:5], QUICK)
    assert [(row["answer"], row["text"], row["value"], row["error"]) for row in ended[:5]] == [
        (result.answer, result.text, result.value, "") for result in results
    ]
    assert json.loads(ended[0]["result"])["rollouts"][0]["text"] == results[0].rollouts[0].text
    assert "tokens" in ended[5]["error"]
