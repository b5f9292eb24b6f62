"""A server that is killed and started again while clients retry."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from dataclasses import dataclass, field

import openai

from .child import ServerProcess, free_port, started
from .greedy import TOKENS, greedy_answers

CLIENTS = 16

_RETRIES = 60
"""A client of OpenAI waits up to 8 s between two tries."""

_BEFORE_S = 5.0
"""Seconds until the server is killed, and at least as long that the second one is used."""


@dataclass
class Restart:
    """What clients of OpenAI saw of a server that was killed by SIGKILL and started again at once.

    Attributes:
        clients: Number of clients, each of which sends one request after the other and retries.
        answered: Requests answered before the kill, and after it.
        open_at_kill: Requests that were open when the server was killed.
        failed: Requests without an answer.
        differing: Answers that differ from the engine's greedy ones.
        outage_s: Seconds from the kill to the next answer.
    """

    clients: int = CLIENTS
    answered: list[int] = field(default_factory=lambda: [0, 0])
    open_at_kill: int = 0
    failed: int = 0
    differing: int = 0
    outage_s: float = 0.0

    def faults(self) -> list[str]:
        """Everything that went wrong, as messages."""
        faults = []
        if not (all(self.answered) and self.open_at_kill):
            faults.append(f"answered before and after the kill: {self.answered}, open at it: {self.open_at_kill}")
        if self.failed:
            faults.append(f"{self.failed} requests failed")
        if self.differing:
            faults.append(f"{self.differing} answers differ")
        return faults


def restart(model: str, threads: int) -> Restart:
    """Kill a server while clients use it, start it again at the same port, and see that all are served."""
    expected = greedy_answers(model, threads)
    port = free_port()
    words = [sys.executable, "-m", "marcot", "serve", "-m", model, "--threads", str(threads), "--port", str(port)]
    words += ["--served-model-name", "model"]
    with started(words, port) as first:
        first.wait()
        return asyncio.run(_restarted(first, words, port, expected))


async def _restarted(first: ServerProcess, words: list[str], port: int, expected: dict[str, str]) -> Restart:
    seen = Restart()
    ending = asyncio.Event()
    killed = float("inf")
    prompts = itertools.cycle(expected)

    async def ask(client: openai.AsyncOpenAI) -> None:
        while not ending.is_set():
            prompt = next(prompts)
            begun = time.monotonic()
            try:
                answer = await client.completions.create(
                    model="model",
                    prompt=prompt,
                    max_tokens=TOKENS,
                    temperature=0,
                    extra_body={"ignore_eos": True},
                )
            except openai.OpenAIError:
                seen.failed += 1
                continue
            now = time.monotonic()
            is_after = now > killed
            seen.open_at_kill += begun < killed < now
            if is_after and not seen.answered[1]:
                seen.outage_s = now - killed
            seen.answered[is_after] += 1
            seen.differing += answer.choices[0].text != expected[prompt]

    async with openai.AsyncOpenAI(base_url=f"{first.url}/v1", api_key="none", max_retries=_RETRIES) as client:
        asking = [asyncio.create_task(ask(client)) for _ in range(CLIENTS)]
        await asyncio.sleep(_BEFORE_S)
        first.process.kill()
        killed = time.monotonic()
        first.process.wait()
        with started(words, port) as second:
            await asyncio.to_thread(second.wait)
            await asyncio.sleep(_BEFORE_S)
            ending.set()
            await asyncio.gather(*asking)
    return seen
