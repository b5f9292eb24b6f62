"""Turns exceptions into error answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ...kernels import MarcotError, NonFiniteError
from ...model import ChatTemplateError, TokenizerError
from ..errors import EngineClosedError, InputError, PoolTooSmallError, QueueFullError, ReleasedNodeError
from .field_error import field_error
from .schemas.error import ErrorAnswer, ErrorDetail

_LOG = logging.getLogger("marcot.server")

_STATUS: tuple[tuple[type[MarcotError], HTTPStatus], ...] = (
    (QueueFullError, HTTPStatus.TOO_MANY_REQUESTS),
    (EngineClosedError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ReleasedNodeError, HTTPStatus.NOT_FOUND),
    (InputError, HTTPStatus.BAD_REQUEST),
    (PoolTooSmallError, HTTPStatus.BAD_REQUEST),
    (NonFiniteError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (TokenizerError, HTTPStatus.BAD_REQUEST),
    (ChatTemplateError, HTTPStatus.BAD_REQUEST),
)
"""The first match counts. Errors of tokenizers and templates are the request's fault: a text that cannot be encoded, or
a conversation that the chat template refuses."""

_TYPES: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "invalid_request_error",
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.METHOD_NOT_ALLOWED: "invalid_request_error",
    HTTPStatus.REQUEST_TIMEOUT: "timeout_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "invalid_request_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
}

RETRY_AFTER = {"Retry-After": "1"}
"""In seconds. An open request may end at any moment, so a longer wait would be pointless."""

CLIENT_CLOSED = 499
"""Status, in logs and counters, of requests whose client has disconnected; nobody receives it."""


class RequestError(Exception):
    """A request that cannot be served.

    Attributes:
        status: HTTP status.
        message: What is wrong, and what to do about it.
        param: The field at fault, if it is a single one.
    """

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param


def error_answer(message: str, status: int, param: str | None = None) -> ErrorAnswer:
    """The body of an answer with `status`."""
    kind = _TYPES.get(status, "internal_error")
    return ErrorAnswer(error=ErrorDetail(message=message, type=kind, param=param, code=status))


def error_response(
    message: str, status: int, param: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error answer with `status`, with the headers that tell a client how to retry."""
    added = dict(headers or {})
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        added |= RETRY_AFTER
    if status == HTTPStatus.UNAUTHORIZED:
        added["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_answer(message, status, param).model_dump(), status, added)


def status_of(error: MarcotError) -> int:
    """The status of an answer whose request failed with `error`."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def told(error: Exception) -> ErrorAnswer:
    """The error that a started stream sends as an event; see `handle_errors`."""
    if isinstance(error, RequestError):
        return error_answer(error.message, error.status, error.param)
    if isinstance(error, MarcotError):
        return error_answer(str(error), status_of(error))
    _LOG.error("a stream failed", exc_info=error)
    return error_answer(_UNKNOWN, HTTPStatus.INTERNAL_SERVER_ERROR)


_UNKNOWN = "internal error; see marcot's log"


def handle_errors(app: FastAPI) -> None:
    """Make `app` answer errors in one format. Answers never repeat what a request said: logs and proxies keep them."""

    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> JSONResponse:
        return error_response(error.message, error.status, error.param)

    @app.exception_handler(MarcotError)
    async def failed(request: Request, error: MarcotError) -> JSONResponse:
        return error_response(str(error), status_of(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        param, message = field_error(error.errors())
        return error_response(message, HTTPStatus.BAD_REQUEST, param)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message, headers = str(error.detail), dict(error.headers or {})
        if error.status_code == HTTPStatus.NOT_FOUND:  # only the router raises it
            message = "there is no such route: GET /openapi.json lists all routes"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # The router names the methods of the first route with this path; others may have more.
            path = getattr(request.scope.get("route"), "path", "")
            methods = ", ".join(sorted(method.upper() for method in app.openapi()["paths"].get(path, {})))
            headers["Allow"] = methods or headers.get("Allow", "")
            message = f"this route takes {headers['Allow']}"
        return error_response(message, error.status_code, headers=headers)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        return error_response(_UNKNOWN, HTTPStatus.INTERNAL_SERVER_ERROR)
