"""A server under load: many clients of many kinds, and what is left of them afterwards."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

import httpx2

from .child import Served, served
from .clients import LoadClient, Seen
from .greedy import greedy_answers

MOST_GROWTH = 1.05
"""Limit: memory at the end relative to memory after a third of the time, when caches are full."""

_LOOK_S = 1.0


@dataclass
class Load:
    """Results of a load test.

    Attributes:
        statuses: Number of answers by status.
        first_ms: Time to the first text, 50th and 95th percentile.
        gap_ms: Time between two texts of a stream, 50th and 95th percentile.
        compared: How many greedy answers were compared with the engine's, and how many of them differed.
        broken: Connections that the server broke.
        memory_mb: Memory of the server after a third of the time, and at the end.
        left: KV handles and readers left at the end, after the KV tree's integrity check passed.
    """

    clients: int
    seconds: float
    statuses: dict[int, int]
    first_ms: tuple[float, float]
    gap_ms: tuple[float, float]
    compared: tuple[int, int]
    broken: int
    memory_mb: tuple[float, float]
    left: dict[str, int]

    def faults(self) -> list[str]:
        """Everything that went wrong, as messages."""
        faults = [f"{count} x {status}" for status, count in self.statuses.items() if status >= 500]
        if not self.compared[0]:
            faults.append("no greedy answer was compared")
        if self.compared[1]:
            faults.append(f"{self.compared[1]} of {self.compared[0]} greedy answers differ")
        if self.broken:
            faults.append(f"{self.broken} connections were broken")
        if self.memory_mb[1] > MOST_GROWTH * self.memory_mb[0]:
            faults.append(f"memory grew from {self.memory_mb[0]:.0f} to {self.memory_mb[1]:.0f} MB")
        if any(self.left.values()):
            faults.append(f"left behind: {self.left}")
        return faults


def load(model: str, threads: int, clients: int, seconds: float) -> Load:
    """Run `clients` clients against a server for `seconds` seconds."""
    expected = greedy_answers(model, threads)
    seen = Seen()
    with served(model, threads) as server:
        memory = asyncio.run(_all_clients(server, clients, seconds, expected, seen))
        server.end()
    third = memory[len(memory) // 3 : len(memory) // 3 + 5]
    return Load(
        clients=clients,
        seconds=seconds,
        statuses=dict(sorted(seen.statuses.items())),
        first_ms=_percentiles(seen.first),
        gap_ms=_percentiles(seen.gaps),
        compared=(seen.compared, seen.others),
        broken=seen.broken,
        memory_mb=(statistics.median(third) / 1e6, statistics.median(memory[-5:]) / 1e6),
        left=server.left,
    )


async def _all_clients(server: Served, clients: int, seconds: float, expected: dict[str, str], seen: Seen) -> list[int]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=clients)
    memory: list[int] = []

    async def look() -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            memory.append(server.memory)

    async with httpx2.AsyncClient(base_url=server.url, timeout=600, limits=limits) as http:
        looking = asyncio.create_task(look())
        until = time.monotonic() + seconds
        await asyncio.gather(*(LoadClient(http, seed, expected, seen).run(until) for seed in range(clients)))
        looking.cancel()
        await asyncio.sleep(6)  # until the leases of unreleased branches have expired
        assert (await http.get("/health")).status_code == 200
    return memory


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p95 in milliseconds; 0 if nothing was measured."""
    ordered = sorted(seconds) or [0.0]
    return ordered[len(ordered) // 2] * 1e3, ordered[len(ordered) * 95 // 100] * 1e3
