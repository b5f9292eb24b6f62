"""Builds the FastAPI application: routes and middleware."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI

from ..serving.async_engine import AsyncEngine
from .answer_counter import AnswerCounter
from .description import describe
from .errors import handle_errors
from .gate import Gate
from .leases import Leases
from .metrics import Metrics
from .routes import branches, chat, completions, generate, marco_o1, scoring, search, status, tokens
from .schemas.limited import Limit
from .service import Service
from .settings import ServerSettings

_EXPIRY = 1.0
"""Seconds between two checks for expired leases."""

_DESCRIPTION = """\
A language model with a KV cache in the form of a tree. Completions and chats follow OpenAI, with vLLM's extra fields;
branches and searches are marcot's own. A request for something that is not supported is refused, never ignored."""


def create_app(engine: AsyncEngine, settings: ServerSettings, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """Return the application that serves `engine`; leases expire by `clock`. It does not close the engine."""
    metrics = Metrics(settings.names[0])
    leases = Leases(settings.lease, settings.max_leases, clock)
    metrics.watch(engine, leases)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        expiring = asyncio.create_task(_expire(leases))
        try:
            yield
        finally:
            expiring.cancel()
            with suppress(asyncio.CancelledError):
                await expiring
            leases.release_all()

    app = FastAPI(
        title="marcot",
        version=version("marcot"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
    )
    app.state.service = Service(engine, settings, metrics, leases)
    for family in (status, completions, chat, tokens, scoring, generate, branches, search):
        app.include_router(family.router)
    if settings.compat is not None:
        app.include_router(marco_o1.router)
    handle_errors(app)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(AnswerCounter, metrics=metrics)
    limits: dict[Limit, int | None] = {
        "vocabulary": engine.engine.config.vocab_size - 1,
        "samples": settings.max_choices,
        "new tokens": settings.max_tokens,
        "top logprobs": settings.max_logprobs,
    }
    describe(app, limits, needs_key=bool(settings.api_keys))
    return app


async def _expire(leases: Leases) -> None:
    while True:
        await asyncio.sleep(_EXPIRY)
        leases.expire()
