"""What the OpenAPI description says beyond the types of requests and answers: events, headers, keys and limits."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .gate import OPEN_PATHS
from .schemas.chat import ChatPiece
from .schemas.completion import CompletionAnswer
from .schemas.error import ErrorAnswer
from .schemas.generate import GenerateAnswer
from .schemas.limited import LIMIT, Limit
from .schemas.search import SearchAnswer, SearchProgress

_REF = "#/components/schemas/{model}"

_EVENTS = (CompletionAnswer, ChatPiece, GenerateAnswer, SearchProgress, SearchAnswer, ErrorAnswer)
"""All models of events; FastAPI describes only those that are answers too."""

_HEADERS: Mapping[int, dict[str, Any]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}},
}
"""Headers of error answers, by status."""

_EVENT_STREAM = "text/event-stream"

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def described_error(status: int, description: str) -> dict[str, Any]:
    """The description of an error answer."""
    headers = {"headers": _HEADERS[status]} if status in _HEADERS else {}
    return {"model": ErrorAnswer, "description": description, **headers}


def described_events(*models: type[BaseModel]) -> dict[str, Any]:
    """The description of a 200 answer that may also be a stream of events, each of which has one of `models` as JSON.

    Events are described as in OpenAPI 3.2 (`itemSchema`), as FastAPI does. Any event may be an error instead.
    """
    described: tuple[type[BaseModel], ...] = (*models, ErrorAnswer)
    contents = [{"$ref": _REF.format(model=model.__name__)} for model in described]
    data = {
        "type": "string",
        "anyOf": [
            {"contentMediaType": "application/json", "contentSchema": {"anyOf": contents}},
            {"const": "[DONE]", "description": "The last event."},
        ],
    }
    event = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    return {"description": "The answer, or its stream.", "content": {_EVENT_STREAM: {"itemSchema": event}}}


def describe(app: FastAPI, limits: Mapping[Limit, int | None], *, needs_key: bool) -> None:
    """Complete the OpenAPI description of `app`.

    Args:
        app: The application with all its routes.
        limits: The largest values of this server's fields; None for no limit.
        needs_key: Whether routes need an API key.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            _, events = models_json_schema([(model, "serialization") for model in _EVENTS], ref_template=_REF)
            for name, definition in events["$defs"].items():
                schema["components"]["schemas"].setdefault(name, definition)
            _set_limits(schema, limits)
            if needs_key:
                _require_keys(schema)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _set_limits(schema: Any, limits: Mapping[Limit, int | None]) -> None:  # noqa: ANN401  (any JSON value)
    """Replace the name of a limit, wherever `schema` has one, by its value; write bounds of integers as integers."""
    if isinstance(schema, list):
        for entry in schema:
            _set_limits(entry, limits)
    elif isinstance(schema, dict):
        if LIMIT in schema:
            most = limits[schema.pop(LIMIT)]
            if most is not None:
                schema["maximum"] = most
                schema.pop("exclusiveMaximum", None)
        if schema.get("type") == "integer":
            # FastAPI writes bounds as floats; those near 2**63 are then read as other integers.
            schema |= {key: int(schema[key]) for key in _BOUNDS if key in schema}
        for entry in schema.values():
            _set_limits(entry, limits)


def _require_keys(schema: dict[str, Any]) -> None:
    schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"key": []}]
    for path in OPEN_PATHS:
        for operation in schema["paths"][path].values():
            operation["security"] = []
