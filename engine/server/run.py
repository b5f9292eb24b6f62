"""A request at work, and the response to it: one JSON answer, or a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from fastapi import Request, Response
from pydantic import BaseModel

from .answers import json_response
from .events import event_response
from .waiting import while_connected


class Run(Protocol):
    """The work of one checked and queued request. One of the two methods is called, once."""

    async def whole(self) -> BaseModel:
        """The whole answer, once the work has ended."""
        ...

    def pieces(self) -> AsyncIterator[BaseModel]:
        """The pieces of the streamed answer; an asynchronous generator."""
        ...


async def respond(http: Request, begin: Coroutine[Any, Any, Run], *, stream: bool, timeout: float) -> Response:
    """Run a request and return the response.

    Args:
        http: The HTTP request.
        begin: Checks the whole request and queues its work.
        stream: Whether the answer is a stream of events.
        timeout: Seconds after which the work is cancelled, counted from now.

    Raises:
        RequestError: The client has disconnected or the time is up, before the answer has begun.
        MarcotError: The work has failed before the answer has begun.
    """
    if not stream:
        return json_response(await while_connected(http, _whole(begin), timeout))
    end = asyncio.get_running_loop().time() + timeout
    run = await while_connected(http, begin, timeout)
    return event_response(run.pieces(), end, timeout)


async def _whole(begin: Coroutine[Any, Any, Run]) -> BaseModel:
    return await (await begin).whole()
