"""The child process in which a contestant runs; answers `bench.common.remote.Remote`."""

from __future__ import annotations

import time
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from ..common.child import answer_with
from .schedule import Schedule


class Child:
    """Runs one contestant. Its public methods are the commands."""

    def probe(self, contestant: str) -> None:
        """Import a contestant and do nothing else, to detect missing packages before a model is converted for it."""
        import_module("bench.search.contestants." + contestant.partition(":")[0])

    def load(self, contestant: str, model: str, packages: list[str], options: dict[str, Any]) -> dict[str, Any]:
        """Load `model` into a contestant ("module:Class" in `contestants`).

        Returns:
            versions: Versions of `packages`.
            weights: The format of its weights, if the contestant chooses that itself, else None.
        """
        module, _, name = contestant.partition(":")
        self._searcher = getattr(import_module(f"bench.search.contestants.{module}"), name)(Path(model), **options)
        versions = {package: metadata.version(package) for package in packages}
        return {"versions": versions, "weights": self._searcher.weights}

    def prepare(self, schedules: list[Any]) -> None:
        """Empty the contestant's caches."""
        self._searcher.prepare([Schedule.of(plain) for plain in schedules])

    def search(self) -> dict[str, float]:
        """Draw every branch of the schedules; return the seconds and what was delivered."""
        start = time.perf_counter()
        delivered = self._searcher.search()
        return {"seconds": time.perf_counter() - start, **delivered._asdict()}

    def call(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401  (whatever the method returns)
        """Call a method that only this contestant has."""
        return getattr(self._searcher, method)(**arguments)


def main() -> None:
    """Answer until standard input ends."""
    answer_with(Child)
