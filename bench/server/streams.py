"""Streams that run concurrently, through a server or in a process of their own, and their times."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np
from marcot.engine import Sampling
from marcot.engine.serving.async_engine import AsyncEngine

from ..common.prompt import random_ids

TOKENS = 48
"""New tokens of each stream."""

OWN_TOKENS = 96
"""Tokens of each prompt if nothing is shared."""

SHARED_TOKENS = 512
"""Tokens of the prefix that all prompts share, if any."""

REST_TOKENS = 32
"""Tokens of each prompt behind the shared prefix."""

_SHARED_ID = 280
"""First token of the first shared prefix: above those of prompts that share nothing, for up to 40 streams."""

_EVENT, _END = b"data: {", b"data: [DONE]"


class Streams(NamedTuple):
    """Times of streams that ran concurrently.

    Attributes:
        first_s: Seconds to the first text, median of the streams.
        tokens_per_s: Tokens per second of all streams together, prompts included in the time.
        cpu_s: CPU time of the decoding process in seconds, which does not depend on other programs on the machine.
        client_cpu_s: CPU time of the process that reads the streams, if that is another one.
    """

    first_s: float
    tokens_per_s: float
    cpu_s: float
    client_cpu_s: float

    @classmethod
    def median(cls, turns: Sequence[Self]) -> Self:
        """The median of each number."""
        return cls(*np.median(turns, axis=0).tolist())


def prompts(streams: int, turn: int, *, shared: bool = False) -> list[list[int]]:
    """A new prompt for each stream, different from those of all other turns from the first token on.

    Within a turn, prompts differ from the first token on too, unless they are to share a prefix.
    """
    if shared:
        prefix = random_ids(SHARED_TOKENS, _SHARED_ID + turn)
        return [prefix + random_ids(REST_TOKENS, stream) for stream in range(streams)]
    return [random_ids(OWN_TOKENS, turn * streams + stream) for stream in range(streams)]


async def through_server(url: str, asked: Sequence[list[int]]) -> Streams:
    """Send the prompts as concurrent requests to a server; `cpu_s` of the result is 0."""
    fields: dict[str, Any] = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "stream": True}
    fields["stream_options"] = {"include_usage": True}
    times = await _together([_events(url, {"prompt": ids} | fields) for ids in asked])
    return times._replace(cpu_s=0.0, client_cpu_s=times.cpu_s)


async def in_python(engine: AsyncEngine, asked: Sequence[list[int]]) -> Streams:
    """Run the same streams as tasks in this process."""
    sampling = Sampling(temperature=0, max_tokens=TOKENS, ignore_eos=True)
    return await _together([_generated(engine, ids, sampling) for ids in asked])


async def _events(url: str, body: dict[str, Any]) -> AsyncGenerator[None]:
    """Yield at each text of a stream.

    It reads the connection itself: on a machine whose cores are all decoding, the time of an HTTP library would be
    taken from the server.
    """
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        content = json.dumps(body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"the server answered {status!r} {await reader.read(2_000)!r}")
        drawn = 0
        while not (line := await reader.readline()).startswith(_END):
            if not line:
                raise RuntimeError("the server ended a stream early")
            if line.startswith(_EVENT):
                event = json.loads(line[len(_EVENT) - 1 :])
                drawn = (event.get("usage") or {}).get("completion_tokens", drawn)
                if event["choices"]:
                    yield
        if drawn != TOKENS:
            raise RuntimeError(f"a stream has {drawn} tokens instead of {TOKENS}")
    finally:
        writer.close()


async def _generated(engine: AsyncEngine, ids: list[int], sampling: Sampling) -> AsyncGenerator[None]:
    async for _ in await engine.generate(ids, sampling):
        yield


async def _together(streams: list[AsyncGenerator[None]]) -> Streams:
    started, cpu = time.perf_counter(), time.process_time()

    async def read(stream: AsyncGenerator[None]) -> float:
        first = 0.0
        async with aclosing(stream) as events:
            async for _ in events:
                first = first or time.perf_counter() - started
        return first

    firsts = sorted(await asyncio.gather(*map(read, streams)))
    seconds = time.perf_counter() - started
    return Streams(firsts[len(firsts) // 2], len(streams) * TOKENS / seconds, time.process_time() - cpu, 0.0)
