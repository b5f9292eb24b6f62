"""Middleware in front of all routes: checks the host, the API key and the size of requests."""

from __future__ import annotations

import asyncio
import hmac
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import error_response
from .settings import ServerSettings, is_loopback

OPEN_PATHS = frozenset({"/health"})
"""Paths that need no API key, for health checks."""


class Gate:
    """Lets requests in that have a valid API key and a small enough body; a local server without keys checks `Host`.

    The whole body is read, within a time limit, before a route is called, so no route waits for a slow client.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        """Pass requests on to `app`."""
        self._app = app
        self._settings = settings
        self._keys = [key.encode() for key in settings.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; see the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_known_host(headers.get("host", "")):
            # A web page may have pointed its own host name at this machine (DNS rebinding).
            refusal: ASGIApp = error_response(
                "the Host header must name this machine: use localhost or 127.0.0.1 in the URL, or start the server "
                "with API keys",
                HTTPStatus.FORBIDDEN,
            )
        elif scope["path"] not in OPEN_PATHS and not self._has_key(headers):
            refusal = error_response(
                "a valid API key is needed: send Authorization: Bearer KEY", HTTPStatus.UNAUTHORIZED
            )
        else:
            body = await self._body(headers, receive)
            if isinstance(body, bytes):
                await self._app(scope, _replayed(body, receive), send)
                return
            refusal = body
        await refusal(scope, receive, send)

    def _has_key(self, headers: Headers) -> bool:
        if not self._keys:
            return True
        kind, _, sent = headers.get("authorization", "").partition(" ")
        given = sent.strip().encode() if kind.lower() == "bearer" else headers.get("x-api-key", "").encode()
        return sum(hmac.compare_digest(given, key) for key in self._keys) > 0  # compares all keys, in constant time

    def _is_known_host(self, host: str) -> bool:
        if self._keys or not self._settings.local:
            return True
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return is_loopback(name)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | ASGIApp:
        """The whole body, or the error answer to a request that is too large or too slow."""
        most = self._settings.max_body
        too_large = error_response(
            f"the request is larger than {most} bytes: send less of it at a time", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        )
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > most:
            return too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return error_response("the client has disconnected", HTTPStatus.BAD_REQUEST)
                    body += message.get("body", b"")
                    if len(body) > most:
                        return too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            return error_response(
                f"the request took longer than {self._settings.body_timeout:g} seconds to arrive: send it again",
                HTTPStatus.REQUEST_TIMEOUT,
            )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that first returns the whole body, then whatever `receive` returns."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
