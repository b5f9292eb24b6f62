"""Clients for the load test: some wait for their answers, some disconnect, some send malformed requests."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from .greedy import TOKENS

_KINDS = ("stream", "leave", "chat", "hang up", "branches", "malformed")
_WEIGHTS = (50, 15, 10, 5, 10, 10)
"""How often a client sends each kind of request, in percent."""

_MALFORMED: Sequence[bytes] = (
    b"",
    b"{",
    b"[" * 10_000,
    b'{"prompt": 3}',
    b'{"prompt": "x", "temperature": -1}',
    b'{"prompt": "x", "n": 1000000}',
    b'{"prompt": "x", "max_tokens": 1e99}',
    b'{"prompt": [-1, 99999999]}',
    b'{"prompt": "\\ud800"}',
    b'{"prompt": "x", "stop": [""]}',
    b'{"prompt": "x", "tools": [{}]}',
    b'{"prompt": "' + b"x" * 5_000_000 + b'"}',
)


@dataclass
class Seen:
    """Counts and times that all clients record together.

    Attributes:
        statuses: Number of answers by status.
        first: Seconds from each streamed request to its first text.
        gaps: Seconds between two texts of a stream.
        compared: Greedy answers compared with the engine's.
        others: How many of them differed.
        broken: Connections that broke although the client had not closed them.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    compared: int = 0
    others: int = 0
    broken: int = 0


class LoadClient:
    """One client that sends one request after the other until a deadline."""

    def __init__(self, http: httpx2.AsyncClient, seed: int, expected: dict[str, str], seen: Seen) -> None:
        """Send requests through `http`; `expected` has the expected greedy answer of each prompt."""
        self._http = http
        self._random = random.Random(seed)
        self._expected = expected
        self._seen = seen

    async def run(self, until: float) -> None:
        """Send requests until `time.monotonic()` reaches `until`; the last answer is still read to its end."""
        asks: dict[str, Callable[[], Awaitable[None]]] = {
            "stream": self._stream,
            "leave": self._leave,
            "chat": self._chat,
            "hang up": self._hang_up,
            "branches": self._branches,
            "malformed": self._malformed,
        }
        while time.monotonic() < until:
            [kind] = self._random.choices(_KINDS, _WEIGHTS)
            try:
                await asks[kind]()
            except (httpx2.TransportError, httpx2.StreamError):
                self._seen.broken += 1

    async def _stream(self) -> None:
        prompt = self._random.choice(list(self._expected))
        text = ""
        body = {"prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "stream": True}
        async with aclosing(self._pieces("/v1/completions", body)) as pieces:
            async for piece in pieces:
                text += piece["choices"][0]["text"]
        if text:
            self._seen.compared += 1
            self._seen.others += text != self._expected[prompt]

    async def _leave(self) -> None:
        pieces_left = self._random.randrange(1, 12)
        body = {"prompt": f"Once upon {self._random.random()}", "max_tokens": 400, "ignore_eos": True, "stream": True}
        async with aclosing(self._pieces("/v1/completions", body)) as pieces:
            async for _ in pieces:
                pieces_left -= 1
                if not pieces_left:
                    return

    async def _chat(self) -> None:
        messages = [{"role": "user", "content": f"What is {self._random.randrange(99)} + 5?"}]
        fields = {"max_tokens": 16, "n": self._random.randrange(1, 4), "logprobs": True, "top_logprobs": 3}
        await self._post("/v1/chat/completions", {"messages": messages} | fields)

    async def _hang_up(self) -> None:
        body = {"prompt": f"Long ago {self._random.random()}", "max_tokens": 400, "ignore_eos": True, "n": 2}
        with suppress(TimeoutError):
            await asyncio.wait_for(self._http.post("/v1/completions", json=body), self._random.uniform(0.01, 2))

    async def _branches(self) -> None:
        made = await self._post("/v1/branches", {"prompts": [f"A branch {self._random.randrange(8)}"]})
        if made is None:
            return
        branch = made["data"][0]["id"]
        sampling = {"max_tokens": 8}
        extended = await self._post(
            "/v1/branches/extend", {"extensions": [{"branch": branch, "n": 3, "sampling": sampling}]}
        )
        if extended is not None and self._random.random() < 0.5:  # the others are never released
            ids = [branch, *(sample["id"] for sample in extended["data"][0])]
            await self._post("/v1/branches/release", {"branches": ids})

    async def _malformed(self) -> None:
        body = self._random.choice(_MALFORMED)
        answer = await self._http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
        self._seen.statuses[answer.status_code] += 1

    async def _post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401  (JSON of the server)
        answer = await self._http.post(path, json=body)
        self._seen.statuses[answer.status_code] += 1
        return answer.json() if answer.is_success else None

    async def _pieces(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        last = started = time.monotonic()
        first = True
        async with self._http.stream("POST", path, json=body) as answer:
            self._seen.statuses[answer.status_code] += 1
            if not answer.is_success:
                await answer.aread()
                return
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                piece = json.loads(line.removeprefix("data: "))
                if "error" in piece:
                    self._seen.statuses[piece["error"]["code"]] += 1
                    return
                now = time.monotonic()
                if first:
                    self._seen.first.append(now - started)
                else:
                    self._seen.gaps.append(now - last)
                first, last = False, now
                yield piece
