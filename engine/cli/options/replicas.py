"""Options for several engines that share the questions of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .model import ModelOptions

if TYPE_CHECKING:
    from ...results.question_run import QuestionSearcher

_PANEL = "Replicas"


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """Several engines for one run, each in its own process."""

    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that share the questions, one by default; the CPU's cores are divided among them. With "
            "--ray, by default one for each GPU of the cluster, or for each node if it has none.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run the processes on a Ray cluster (marcot\\[ray]): its address, auto, or local for one on this "
            "machine alone.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    @contextmanager
    def open(self, model: str, loading: ModelOptions) -> Iterator[QuestionSearcher]:
        """Load `model` with the options `loading`, once or several times; processes end with the `with` block.

        Raises:
            InputError: The options contradict each other.
        """
        if self.ray is not None:
            from ...replicas.ray_pool import RayPool

            with RayPool(model, self.replicas, self.ray, loading.device, **loading.engine_options()) as pool:
                yield pool
            return
        from ...replicas.replica_device import name_devices
        from ...replicas.replica_pool import ReplicaPool

        if self.replicas in (None, 1) and "," not in loading.device:
            yield loading.load(model)
            return
        devices = name_devices(loading.device, self.replicas)
        with ReplicaPool(model, devices, **loading.engine_options()) as pool:
            yield pool
