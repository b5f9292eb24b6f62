"""JSON answers, and the OpenAPI descriptions of error and stream answers."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from .description import described_error, described_events
from .errors import CLIENT_CLOSED

_ERRORS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "The request is invalid, or asks for something that is not supported.",
    HTTPStatus.UNAUTHORIZED: "The request has no valid API key.",
    HTTPStatus.FORBIDDEN: "The `Host` header does not name this machine.",
    HTTPStatus.NOT_FOUND: "The model or branch does not exist.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to arrive.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
    HTTPStatus.TOO_MANY_REQUESTS: "The queue is full; retry after `Retry-After` seconds.",
    CLIENT_CLOSED: "The client has disconnected.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Internal error.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The model is still being loaded, or the server is shutting down.",
    HTTPStatus.GATEWAY_TIMEOUT: "The request took too long.",
}

ERRORS: dict[int | str, dict[str, Any]] = {
    int(status): described_error(status, description) for status, description in _ERRORS.items()
}
"""Error answers that every route may give."""


def errors_and_events(*models: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """`ERRORS`, plus a 200 answer that may also be a stream of events, each of which has one of `models` as JSON."""
    return ERRORS | {200: described_events(*models)}


def json_response(answer: BaseModel) -> Response:
    """An answer as JSON."""
    return Response(answer.model_dump_json(), media_type="application/json")


def answer_id(kind: str, request_id: str | None) -> str:
    """The id of an answer, such as `cmpl-1f2e...`; a client may choose the part after the kind."""
    return f"{kind}-{request_id or secrets.token_hex(16)}"
