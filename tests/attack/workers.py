"""Kill the workers of a run again and again, and compare its results with those of one engine.

A trial is a run over many questions with two workers, which ends when a worker has been killed ten times, at random
moments, also while it loads the model, but not while none has loaded it. No question may be lost or have two results,
and every result must be the one that an engine finds that nobody disturbs.
"""

from __future__ import annotations

import os
import signal
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

from attack.campaign import Campaign
from marcot.engine import MCTS, Engine, Outcome, SearchResult
from marcot.engine.replicas.replica_driver import ReplicaDriver
from marcot.engine.replicas.replica_pool import ReplicaPool
from support.checkpoints.small_talker import write_talking_folder

KILLS = 10
WORKERS = 2
STRATEGY = MCTS(rollouts=6, max_rollout_tokens=48, width=2, vote_margin=0)
MOST_SECONDS_BETWEEN = 8.0
"""About as long as a worker takes to start and to work for a while. So some are killed while they load the model."""


def found(result: SearchResult | None) -> tuple[object, ...] | None:
    """A result without its cost."""
    return None if result is None else (result.answer, result.value, result.rollouts, result.tree, result.best_path)


class Killer(Thread):
    """A thread that kills one of the workers from time to time.

    Attributes:
        kills: Number of workers killed so far.
    """

    def __init__(self, victims: Callable[[], list[int]], is_working: Callable[[], bool], random: Random) -> None:
        super().__init__(daemon=True)
        self._is_working = is_working
        self._victims = victims
        self._random = random
        self.over = Event()
        self.kills = 0

    def run(self) -> None:
        while self.kills < KILLS and not self.over.wait(self._random.uniform(0.0, MOST_SECONDS_BETWEEN)):
            victims = self._victims()
            if self._is_working() and victims:
                with suppress(ProcessLookupError):
                    os.kill(self._random.choice(victims), signal.SIGKILL)
                    self.kills += 1


def questions(killer: Killer) -> Iterator[str]:
    """Questions until enough workers have been killed."""
    for number in count():
        if killer.kills == KILLS and number % 50 == 0:
            return
        yield f"What is {number} + {number % 7}?"


def workers_of_pool(pool: ReplicaPool) -> list[int]:
    """The process ids of replicas."""
    return [replica._process.pid for replica in pool._replicas]  # type: ignore[attr-defined]


def workers_of_ray(pool: Any) -> list[int]:
    """The process ids of the actors that answer."""
    import ray

    found = []
    for replica in pool._replicas:
        with suppress(ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
            found.append(ray.get(replica._actor.__ray_call__.remote(lambda self: os.getpid()), timeout=1.0))
    return found


def attack(pool: ReplicaDriver, victims: Callable[[Any], list[int]], engine: Engine, random: Random) -> Iterator[str]:
    """Run a trial; yield everything that went wrong."""
    killer = Killer(lambda: victims(pool), lambda: any(each.is_ready for each in pool._replicas), random)
    asked: list[str] = []

    def ask() -> Iterator[str]:
        for question in questions(killer):
            asked.append(question)
            yield question

    ended: dict[int, Outcome] = {}
    killer.start()
    for event in pool.stream(ask(), STRATEGY, concurrency=4):
        if isinstance(event, Outcome):
            if event.index in ended:
                yield f"question {event.index} has two results"
            if event.error is not None:
                yield f"question {event.index}: {event.error}"
            ended[event.index] = event
    killer.over.set()
    if sorted(ended) != list(range(len(asked))):
        yield f"of {len(asked)} questions {len(ended)} have results"
    print(f"{len(asked)} questions, {killer.kills} kills", flush=True)
    for index, result in enumerate(engine.search(asked, STRATEGY, concurrency=32)):
        if index in ended and found(ended[index].result) != found(result):
            yield f"question {index} has another result than without kills"


def main(parser: ArgumentParser) -> None:
    parser.add_argument("--ray", action="store_true", help="actors of Ray instead of processes")
    options = parser.parse_args()
    campaign = Campaign("runs", options)
    with tempfile.TemporaryDirectory(prefix="marcot-workers-") as folder:
        model = str(write_talking_folder(Path(folder) / "talker"))
        engine = Engine.load(model, threads=1, kv_tokens=16384)
        for trial in campaign:
            if options.ray:
                from marcot.engine.replicas.ray_pool import RayPool

                with RayPool(model, WORKERS, "local", kv_tokens=16384) as actors:
                    problems = list(attack(actors, workers_of_ray, engine, trial.random))
            else:
                with ReplicaPool(model, ["cpu"] * WORKERS, kv_tokens=16384) as pool:
                    problems = list(attack(pool, workers_of_pool, engine, trial.random))
            campaign.count("through Ray" if options.ray else "in processes")
            for problem in problems:
                campaign.finding(problem)
    campaign.end()


if __name__ == "__main__":
    main(Campaign.parser(__doc__, count=1))
