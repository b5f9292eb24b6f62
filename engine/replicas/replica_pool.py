"""Engines in several processes that search questions like a single engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Any, cast

from ..checking import check_integer
from ..errors import InputError
from .process_replica import ProcessReplica
from .replica import Replica
from .replica_device import ReplicaDevice
from .replica_driver import ReplicaDriver

MAX_REPLICAS = 64


class ReplicaPool(ReplicaDriver):
    """Replicas of a model on this machine, each an engine in its own process; see `ReplicaDriver`."""

    def __init__(self, model: str, devices: Sequence[str], **options: Any) -> None:  # noqa: ANN401  (of `Engine.load`)
        """Load `model` once for each device.

        Args:
            model: Its name or path.
            devices: For example `["cuda:0", "cuda:1"]`, or `["cpu"] * 4`, whose cores (or `threads`) are divided among
                the replicas.
            options: Options of `Engine.load`; `kv_tokens` applies to each replica.

        Raises:
            InputError: A device does not exist, or there are too few or too many.
            MarcotError: The model cannot be loaded.
        """
        if isinstance(devices, str):
            raise InputError(f"devices={devices!r:.100}: must be a list, such as [{devices!r:.100}] * 2")
        check_integer("devices", len(devices), f"1 to {MAX_REPLICAS}", least=1, most=MAX_REPLICAS)
        parsed = [ReplicaDevice.parse(device) for device in devices]
        on_cpu = sum(device.kind == "cpu" for device in parsed)
        if on_cpu:
            cores, threads = len(os.sched_getaffinity(0)), options.get("threads")
            threads = cores if threads is None else check_integer("threads", threads, "at least 1", least=1)
            options["threads"] = max(1, threads // on_cpu)
        super().__init__(model)
        try:
            for number, device in enumerate(parsed, 1):
                self._replicas.append(ProcessReplica(number, model, device, options))
        except BaseException:
            self.close()
            raise
        self._load(least=len(parsed))

    def _wait(self, seconds: float | None) -> Sequence[Replica]:
        replicas = {cast(ProcessReplica, replica).connection: replica for replica in self._replicas}
        return [replicas[found] for found in wait(list(replicas), seconds)]  # type: ignore[index]
