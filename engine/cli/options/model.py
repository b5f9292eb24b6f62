"""The options that say how a model is loaded."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..streams import say
from . import common as options

if TYPE_CHECKING:
    from ...engine import Engine
    from ...results.question_run import QuestionSearcher


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How a command loads its models. See `Engine.load` for what the options mean."""

    device: options.DeviceOption = "auto"
    dtype: options.DtypeOption = "auto"
    compute: options.ComputeOption = "auto"
    weights: options.WeightsOption = "stored"
    threads: options.ThreadsOption = None
    kv_tokens: options.KVTokensOption = None
    kv_dtype: options.KVDtypeOption = "auto"
    deterministic: options.DeterministicOption = False
    no_graphs: options.NoGraphsOption = False

    def load(self, model: str) -> Engine:
        """Load `model`; a person at a terminal is told how long it took, which is seconds."""
        from ...engine import Engine

        started = time.monotonic()
        arguments = asdict(self)
        graphs = not arguments.pop("no_graphs")
        engine = Engine.load(model, **arguments, graphs=graphs)
        if sys.stderr.isatty():
            say(f"loaded {model} in {time.monotonic() - started:.1f} s")
        return engine

    @contextmanager
    def open(self, model: str, replicas: int) -> Iterator[QuestionSearcher]:
        """Load `model`, once for each device or as often as `replicas` says; processes end with the block.

        Raises:
            InputError: The options do not fit together.
        """
        from ...errors import InputError
        from ...replicas.replica_pool import ReplicaPool

        devices = self.device.split(",")
        if replicas == 1 and len(devices) == 1:
            yield self.load(model)
            return
        if len(devices) == 1 and devices != ["cpu"]:
            raise InputError(
                f"--replicas {replicas}: name their devices, such as --device cuda:0,cuda:1 or --device cpu"
            )
        if replicas not in (1, len(devices)) and len(devices) > 1:
            raise InputError(f"--replicas {replicas}: --device names {len(devices)}; leave --replicas out")
        options = asdict(self) | {"graphs": not self.no_graphs}
        del options["device"], options["no_graphs"]
        with ReplicaPool(model, devices * replicas if len(devices) == 1 else devices, **options) as pool:
            yield pool

    @property
    def numbers(self) -> dict[str, str]:
        """What results depend on, by the names in their settings."""
        from ...load_options import number_settings

        return number_settings(self.dtype, self.compute, self.weights, self.kv_dtype)
