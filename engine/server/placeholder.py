"""Answers requests while the model is being loaded."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Self

from .errors import RETRY_AFTER, error_answer

_MOST_LINE = 2**16
_MOST_BODY = 2**22
"""Most bytes that are read: a client whose request is not read to its end may miss the answer."""

_POLL_S = 0.05
"""Seconds between two looks whether to end."""


class Placeholder:
    """Context manager that answers every request on a listening socket with status 503, in threads of its own."""

    def __init__(self, at: socket.socket) -> None:
        """Answer on `at`, which stays open afterwards: the next server accepts the connections that still wait."""
        self._server = ThreadingTCPServer(at.getsockname()[:2], _Refusal, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = at
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()


class _Refusal(StreamRequestHandler):
    """Reads one request and refuses it."""

    timeout = 10

    def handle(self) -> None:
        """See the base class."""
        with suppress(OSError, HTTPException, ValueError):  # a length may have digits that are no number
            self.rfile.readline(_MOST_LINE)
            length = parse_headers(self.rfile).get("Content-Length", "0")
            self.rfile.read(min(int(length), _MOST_BODY) if length.isdigit() else 0)
            self.wfile.write(_answer())


def _answer() -> bytes:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    body = error_answer("the model is still being loaded: try again in a moment", status).model_dump_json().encode()
    headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close", **RETRY_AFTER}
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body
