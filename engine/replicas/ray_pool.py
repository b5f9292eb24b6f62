"""Engines on a Ray cluster that search questions like a single engine."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from ..checking import check_integer
from ..errors import InputError
from .replica import Replica
from .replica_driver import ReplicaDriver

try:
    import ray
    from ray.exceptions import RayError

    from .ray_replica import LOAD_RETRIES, RayReplica
    from .ray_worker import RayWorker
except ImportError as error:
    raise InputError("Ray is not installed: pip install 'marcot[ray]'") from error

MAX_ACTORS = 10_000


class RayPool(ReplicaDriver):
    """Replicas of a model on a Ray cluster, each an actor; see `ReplicaDriver`.

    It begins as soon as one actor is ready, and goes on without those that cannot load the model. This process hands
    out the questions and gets the results; it needs no GPU. Nodes need marcot, the model and, if there is one, the
    module of your own value, at the same place.
    """

    def __init__(
        self,
        model: str,
        replicas: int | None = None,
        address: str = "auto",
        device: str = "auto",
        **options: Any,  # noqa: ANN401  (of `Engine.load`)
    ) -> None:
        """Start actors and load `model` in each.

        Args:
            model: Its name or path.
            replicas: Number of actors; by default one for each GPU of the cluster, or one for each node if it has none.
            address: Address of the cluster, such as `"10.0.0.1:6379"`; `"auto"` for the one that this machine is part
                of, `"local"` for one of this process's own. Not used if the program has called `ray.init`.
            device: `"cuda"`, `"cpu"`, or `"auto"` for GPUs if the cluster has any.
            options: Other options of `Engine.load`, for each actor.

        Raises:
            InputError: There is no cluster there, or it is too small.
            MarcotError: The model cannot be loaded.
        """
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device={device!r:.100}: must be auto, cpu or cuda; Ray chooses which GPU")
        self._begun = not ray.is_initialized()
        if self._begun:
            _join_cluster(address)
        super().__init__(model)
        try:
            size = _ClusterSize.of(replicas, device, options.get("threads"))
            kind = "cuda" if size.gpus else "cpu"
            chosen = options | {"device": kind} | ({} if size.gpus else {"threads": size.cpus})
            actor = ray.remote(RayWorker).options(
                num_cpus=size.cpus,
                num_gpus=size.gpus,
                max_restarts=-1,
                max_task_retries=LOAD_RETRIES,
                scheduling_strategy="SPREAD",
            )
            for number in range(1, size.actors + 1):
                self._replicas.append(RayReplica(number, actor.remote(model, chosen)))
        except BaseException:
            self.close()
            raise
        self._load(least=1)

    def close(self) -> None:
        """End all actors, and leave the cluster if this object has joined it. Closing twice is harmless."""
        super().close()
        if self._begun:
            self._begun = False
            ray.shutdown()

    def _wait(self, seconds: float | None) -> Sequence[Replica]:
        pending = {cast(RayReplica, replica).pending: replica for replica in self._replicas}
        found, waiting = ray.wait(list(pending), num_returns=1, timeout=seconds)
        if waiting:
            found += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        return [pending[each] for each in found]

    def _does_without(self, replica: Replica) -> bool:
        return any(other.is_ready for other in self._replicas if other is not replica)


class _ClusterSize(NamedTuple):
    """The number of actors, and the resources of each.

    Attributes:
        actors: Number of actors.
        cpus: Cores of an actor.
        gpus: GPUs of an actor, 1 or 0.
    """

    actors: int
    cpus: int
    gpus: int

    @classmethod
    def of(cls, replicas: int | None, device: str, threads: int | None) -> _ClusterSize:
        """Divide the cluster among actors.

        Raises:
            InputError: It is too small.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
        if replicas is not None:
            check_integer("replicas", replicas, f"1 to {MAX_ACTORS}", least=1, most=MAX_ACTORS)
        if device == "cuda" or (device == "auto" and gpus):
            actors = replicas or gpus
            if not 1 <= actors <= gpus:
                raise InputError(f"replicas={actors}: the cluster has {gpus} GPUs; ask for fewer, or for device='cpu'")
            return cls(actors, 1, 1)
        if not cores:
            raise InputError("the cluster has no CPUs; add a node, or wait until one has joined")
        actors = replicas or len(cores)
        each = threads or max(1, min(cores) // math.ceil(actors / len(cores)))
        if sum(number // each for number in cores) < actors:
            raise InputError(
                f"replicas={actors}: the cluster has {sum(cores)} cores, and each replica takes {each}; ask for fewer"
            )
        return cls(actors, each, 0)


def _join_cluster(address: str) -> None:
    """Join the cluster at `address`, or start one on this machine.

    Raises:
        InputError: There is none.
    """
    local: dict[str, Any] = {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local = {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
    try:
        ray.init(address=address, logging_level=logging.ERROR, **local)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        told = str(error).partition("\n")[0]
        advice = "start one with ray start --head, or use the address local"
        raise InputError(f"there is no Ray cluster at {address!r:.100}: {told}; {advice}") from error
