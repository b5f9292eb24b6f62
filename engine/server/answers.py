"""Answers that are JSON, and what the description says of those that are not what was asked for."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from .errors import CLIENT_CLOSED
from .schemas.error import ErrorAnswer

_ERRORS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "The request makes no sense, or asks for what is not done.",
    HTTPStatus.UNAUTHORIZED: "There is no valid API key.",
    HTTPStatus.FORBIDDEN: "The request came by a name that is not this machine's.",
    HTTPStatus.NOT_FOUND: "There is no such model or branch.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to arrive.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
    HTTPStatus.TOO_MANY_REQUESTS: "The queue is full; `Retry-After` says when to come back.",
    CLIENT_CLOSED: "The client has gone.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "marcot failed.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The server is about to end.",
    HTTPStatus.GATEWAY_TIMEOUT: "The request took too long.",
}

ERRORS: dict[int | str, dict[str, Any]] = {
    int(status): {"model": ErrorAnswer, "description": description} for status, description in _ERRORS.items()
}
"""What every route may answer as well."""


def errors_and_events(description: str) -> dict[int | str, dict[str, Any]]:
    """`ERRORS`, and that the answer may be a stream of events, which `description` describes."""
    schema = {"schema": {"type": "string", "description": description}}
    return ERRORS | {200: {"description": "The answer, or a stream of it.", "content": {"text/event-stream": schema}}}


def json_response(answer: BaseModel) -> Response:
    """An answer as JSON."""
    return Response(answer.model_dump_json(), media_type="application/json")


def answer_id(kind: str, request_id: str | None) -> str:
    """The id of an answer, such as `cmpl-1f2e...`; a client may choose what follows the kind."""
    return f"{kind}-{request_id or secrets.token_hex(16)}"
