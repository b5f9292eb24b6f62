"""Routes whose bodies must be strict JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from ...model.files import strict_json

MAX_DEPTH = 64
"""Maximum levels of nested lists and objects. Chat template variables may be nested; a conversation has five levels."""


class _StrictRequest(Request):
    """A request that refuses JSON with duplicate keys, NaN or deep nesting."""

    async def json(self) -> Any:  # noqa: ANN401  (as in the base class)
        try:
            value = strict_json.parse(await self.body(), whole=True)
        except ValueError as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body {error}") from error
        if strict_json.is_deep(value, MAX_DEPTH):
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body is nested too deeply: at most {MAX_DEPTH} levels")
        return value


class StrictRoute(APIRoute):
    """A route that parses its body as strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The base class's handler, with a `_StrictRequest`."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly
