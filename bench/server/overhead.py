"""Compares time to first text and tokens per second: through the server, and the Python API in its own process."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

import httpx2
from marcot.engine import Engine, Sampling
from marcot.engine.serving.async_engine import AsyncEngine

PROMPT_TOKENS = 96
TOKENS = 48
"""New tokens of each stream."""


class Streams(NamedTuple):
    """Times of streams that ran concurrently.

    Attributes:
        first_s: Seconds to the first text, median of the streams.
        tokens_per_s: Tokens per second of all streams together.
        cpu_s: CPU time of the decoding process in seconds, which does not depend on other programs on the machine.
    """

    first_s: float
    tokens_per_s: float
    cpu_s: float


def prompts(streams: int, turn: int) -> list[list[int]]:
    """A new prompt for each stream, different from those of all other turns."""
    return [[1_000 + stream, 2_000 + turn, *range(3_000, 3_000 + PROMPT_TOKENS - 2)] for stream in range(streams)]


async def through_server(url: str, streams: int, turn: int) -> Streams:
    """Run the streams as concurrent requests to a server."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        fields = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "stream": True}
        return await _together([_events(http, {"prompt": ids} | fields) for ids in prompts(streams, turn)])


async def _events(http: httpx2.AsyncClient, body: dict[str, Any]) -> AsyncIterator[None]:
    async with http.stream("POST", "/v1/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                json.loads(line.removeprefix("data: "))
                yield


async def in_python(engine: AsyncEngine, streams: int, turn: int) -> Streams:
    """Run the same streams as tasks in this process."""
    sampling = Sampling(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    return await _together([_generated(engine, ids, sampling) for ids in prompts(streams, turn)])


async def _generated(engine: AsyncEngine, ids: list[int], sampling: Sampling) -> AsyncIterator[None]:
    async for _ in await engine.generate(ids, sampling):
        yield


async def _together(streams: list[AsyncIterator[None]]) -> Streams:
    started, cpu = time.perf_counter(), time.process_time()

    async def read(stream: Any) -> float:  # noqa: ANN401  (an asynchronous generator)
        first = 0.0
        async with aclosing(stream) as events:
            async for _ in events:
                first = first or time.perf_counter() - started
        return first

    firsts = sorted(await asyncio.gather(*map(read, streams)))
    seconds = time.perf_counter() - started
    return Streams(firsts[len(firsts) // 2], len(streams) * TOKENS / seconds, time.process_time() - cpu)


def main() -> None:
    """Run a turn for each input line, its number, and print its times; arguments are MODEL, THREADS and STREAMS."""
    model, threads, streams = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(_answer(Engine.load(model, threads=threads), streams))


async def _answer(engine: Engine, streams: int) -> None:
    async with AsyncEngine(engine) as served:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await in_python(served, streams, int(line))), flush=True)


if __name__ == "__main__":
    main()
