"""Runs work for a client: cancels it if the client disconnects or the time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request

from .errors import CLIENT_CLOSED, RequestError

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T], timeout: float) -> T:
    """Return the result of `work`; cancel it if the client disconnects, or after `timeout` seconds.

    Raises:
        RequestError: The work was cancelled.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise RequestError("the client has disconnected", CLIENT_CLOSED)
        raise RequestError(too_long(timeout), HTTPStatus.GATEWAY_TIMEOUT)
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all of `works` at once and return their results; if one fails, cancel the others and raise its error."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as failures:
        error: BaseException = failures
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return [task.result() for task in tasks]


def too_long(timeout: float) -> str:
    """Error message for a request that took more than `timeout` seconds."""
    return f"the request took more than {timeout:g} seconds: ask for less, or start the server with --request-timeout"


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
