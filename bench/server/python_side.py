"""The Python API in a process of its own: runs a turn of streams for each line of its input."""

from __future__ import annotations

import asyncio
import json
import sys

from marcot.engine import Engine
from marcot.engine.server.serve import run_in_loop
from marcot.engine.serving.async_engine import AsyncEngine

from .streams import in_python, prompts


def main() -> None:
    """Run a turn for each input line, its number, and print its times; arguments are MODEL, THREADS and STREAMS."""
    model, threads, streams = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    run_in_loop(_answer(Engine.load(model, threads=threads), streams))


async def _answer(engine: Engine, streams: int) -> None:
    async with AsyncEngine(engine) as served:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await in_python(served, prompts(streams, int(line)))), flush=True)


if __name__ == "__main__":
    main()
