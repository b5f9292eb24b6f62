"""The objects that all routes share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Request

from ...model import Tokenizer
from ..serving.async_engine import AsyncEngine
from .errors import RequestError
from .leases import Leases
from .metrics import Metrics
from .settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Service:
    """One served model.

    Attributes:
        engine: The engine that does the work.
        settings: Names and limits.
        metrics: The server's counters.
        leases: The branches that clients hold.
        created: When the service was created, in Unix seconds.
    """

    engine: AsyncEngine
    settings: ServerSettings
    metrics: Metrics
    leases: Leases
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def context(self) -> int:
        """Length of the model's context, in tokens."""
        return self.engine.engine.config.max_positions

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer.

        Raises:
            RequestError: The model has none.
        """
        tokenizer = self.engine.engine.tokenizer
        if tokenizer is None:
            raise RequestError("this model has no tokenizer: POST token ids to /inference/v1/generate")
        return tokenizer

    def decoded(self, ids: list[int]) -> str:
        """The text of `ids`; empty if the model has no tokenizer."""
        tokenizer = self.engine.engine.tokenizer
        return tokenizer.decode(ids) if tokenizer else ""

    def most_tokens(self, asked: int | None, param: str = "max_tokens", *, is_default: bool = False) -> int:
        """The token limit of a sample whose request asks for `asked`; None asks for as many as possible.

        Args:
            asked: Value of the request's field.
            param: Name of the field.
            is_default: Whether the request leaves the field out, so that the server's limit applies silently.

        Raises:
            RequestError: `asked` is more than the server allows.
        """
        limit = self.settings.max_tokens
        if asked is None:
            return self.context if limit is None else limit
        if limit is None or asked <= limit:
            return asked
        if is_default:
            return limit
        raise RequestError(f"{param}: must be at most {limit} on this server", param=param)

    def check_requests(self, count: int, param: str) -> None:
        """Refuse a request that needs `count` places in the queue, if even an empty queue has fewer.

        Raises:
            RequestError: There are not.
        """
        most = self.settings.max_requests
        if count > most:
            raise RequestError(f"{param}: at most {most} fit into the queue: send fewer at a time", param=param)

    def model_name(self, asked: str | None) -> str:
        """The model name for an answer whose request names the model `asked`, or None for no name.

        Raises:
            RequestError: The request names another model.
        """
        names = self.settings.names
        if asked is None:
            return names[0]
        if asked not in names:
            raise RequestError(f"this server has no such model; its model is {names[0]}", HTTPStatus.NOT_FOUND, "model")
        return asked


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceOf = Annotated[Service, Depends(_service)]
"""Type of a route's parameter that receives the `Service`."""
