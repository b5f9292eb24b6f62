"""What the routes work with."""

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
        engine: Does the work.
        settings: Names and limits.
        metrics: Counts it.
        leases: Branches that clients hold.
        created: Second at which it began.
    """

    engine: AsyncEngine
    settings: ServerSettings
    metrics: Metrics
    leases: Leases
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def context(self) -> int:
        """Tokens that the model reads."""
        return self.engine.engine.config.max_positions

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer.

        Raises:
            RequestError: It has none.
        """
        tokenizer = self.engine.engine.tokenizer
        if tokenizer is None:
            raise RequestError("this model has no tokenizer: POST token ids to /inference/v1/generate")
        return tokenizer

    def decoded(self, ids: list[int]) -> str:
        """The text of `ids`; empty without a tokenizer."""
        tokenizer = self.engine.engine.tokenizer
        return tokenizer.decode(ids) if tokenizer else ""

    def most_tokens(self, asked: int | None) -> int:
        """How many tokens a sample may have that asks for so many; None for as many as there is room for.

        Raises:
            RequestError: They are more than the server allows.
        """
        most = self.context if self.settings.max_tokens is None else self.settings.max_tokens
        if asked is not None and self.settings.max_tokens is not None and asked > most:
            raise RequestError(f"max_tokens: at most {most} can be asked for", param="max_tokens")
        return most if asked is None else asked

    def model_name(self, asked: str | None) -> str:
        """What an answer calls the model that a request names, perhaps by no name.

        Raises:
            RequestError: It is another model.
        """
        names = self.settings.names
        if asked is None:
            return names[0]
        if asked not in names:
            raise RequestError(f"there is no such model here; the model is {names[0]}", HTTPStatus.NOT_FOUND, "model")
        return asked


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceOf = Annotated[Service, Depends(_service)]
"""A route's parameter for the service that it belongs to."""
