"""Routes whose bodies are strict JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from ...model.files import strict_json

MAX_DEPTH = 64
"""Lists and objects inside one another. What templates get may be nested; a conversation is five deep."""


class _StrictRequest(Request):
    """A request whose JSON may not name a key twice, have NaN in it or be nested deeply."""

    async def json(self) -> Any:  # noqa: ANN401  (as in its base)
        try:
            value = strict_json.parse(await self.body())
        except ValueError as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body {error}") from error
        if strict_json.is_deep(value, MAX_DEPTH):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is nested too deeply")
        return value


class StrictRoute(APIRoute):
    """A route that reads its body strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As in its base."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly
