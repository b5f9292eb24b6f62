"""The server's state and model: `/health`, `/version`, `/metrics` and `/v1/models`."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Response

from ..answers import ERRORS
from ..errors import RequestError
from ..metrics import CONTENT_TYPE
from ..schemas.model import HealthAnswer, ModelCard, ModelList, VersionAnswer
from ..service import Service, ServiceOf

router = APIRouter(tags=["Status"], responses=ERRORS)

_METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Metrics in the Prometheus text format.",
        "content": {CONTENT_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.get("/health")
async def health(service: ServiceOf) -> HealthAnswer:
    """Report whether the server accepts requests."""
    if not service.engine.is_open:
        raise RequestError("the server is shutting down, or must be restarted", HTTPStatus.SERVICE_UNAVAILABLE)
    return HealthAnswer()


@router.get("/version")
async def show_version() -> VersionAnswer:
    """Return the version of marcot."""
    return VersionAnswer(version=version("marcot"))


@router.get("/metrics", response_class=Response, responses=_METRICS)
async def metrics(service: ServiceOf) -> Response:
    """Return the server's metrics for Prometheus."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/v1/models")
async def models(service: ServiceOf) -> ModelList:
    """List the served model under each of its names."""
    return ModelList(data=[_card(service, name) for name in service.settings.names])


@router.get("/v1/models/{model:path}")
async def one_model(model: str, service: ServiceOf) -> ModelCard:
    """Return the served model."""
    return _card(service, service.model_name(model))


def _card(service: Service, name: str) -> ModelCard:
    return ModelCard(id=name, created=service.created, root=service.settings.names[0], max_model_len=service.context)
