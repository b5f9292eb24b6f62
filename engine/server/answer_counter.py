"""Counts answers by route and status."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import Metrics

_ELSEWHERE = "elsewhere"
"""Route label of requests that match no route; their own paths could fill the counters without limit."""


class AnswerCounter:
    """Middleware that counts an application's answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Count the answers of `app` in `metrics`."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; see the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(getattr(scope.get("route"), "path", _ELSEWHERE), message["status"])
            await send(message)

        await self._app(scope, receive, counted)
