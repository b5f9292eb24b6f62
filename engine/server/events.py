"""Answers as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from fastapi.sse import EventSourceResponse
from pydantic import BaseModel

from .errors import RequestError, told
from .waiting import too_long

_NO_BUFFERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event_response(pieces: AsyncIterator[BaseModel], end: float, timeout: float) -> EventSourceResponse:
    """A streamed answer: one event for each of `pieces`, in order, an error event if they fail, and `[DONE]`.

    `pieces` is closed when it ends, when the client disconnects, or when the time is up.

    Args:
        pieces: An asynchronous generator that has not started.
        end: When the time is up, by the event loop's clock.
        timeout: Seconds that the whole request may take, for the error.
    """
    return EventSourceResponse(_events(pieces, end, timeout), headers=_NO_BUFFERS)


async def _events(pieces: Any, end: float, timeout: float) -> AsyncIterator[bytes]:  # noqa: ANN401  (has `aclose`)
    async with aclosing(pieces):
        try:
            async with asyncio.timeout_at(end):
                async for piece in pieces:
                    yield _event(piece.model_dump_json())
        except TimeoutError:
            yield _error(RequestError(too_long(timeout), HTTPStatus.GATEWAY_TIMEOUT))
        except Exception as error:
            yield _error(error)
        yield _event("[DONE]")


def _error(error: Exception) -> bytes:
    return _event(told(error).model_dump_json())


def _event(data: str) -> bytes:
    """An event with `data` of one line, as all JSON of pydantic is."""
    return f"data: {data}\n\n".encode()
