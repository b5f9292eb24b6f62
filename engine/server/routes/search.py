"""`POST /v1/search`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import asdict, fields
from typing import Any

from fastapi import APIRouter, Request, Response

from ...sampling.sampling import Sampling
from ...search import STRATEGIES, Question, SearchResult, Strategy, answers_agree
from ...search.rollout.instruction import AUTO
from ...serving.async_request import Searching
from ...view.tree_json import tree_object
from ..answers import answer_id, errors_and_events
from ..errors import RequestError
from ..run import respond
from ..schemas.search import RolloutAnswer, SearchAnswer, SearchParametersRequest, SearchProgress, SearchRequest
from ..service import Service, ServiceOf
from ..settings import ServerSettings
from ..strict_route import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["Search"])

_BRANCHES = ("rollouts", "parallel", "width", "beams", "samples", "subtrees")
"""Parameters that determine how many branches are drawn."""


@router.post("/v1/search", response_model=SearchAnswer, responses=errors_and_events(SearchProgress, SearchAnswer))
async def search(request: SearchRequest, http: Request, service: ServiceOf) -> Response:
    """Search the answer to a question; return the rollouts and, by default, the tree."""
    timeout = service.settings.request_timeout
    return await respond(http, _begun(request, service), stream=request.stream, timeout=timeout)


async def _begun(request: SearchRequest, service: Service) -> _SearchRun:
    """Check the whole request and queue the search."""
    model = service.model_name(request.model)
    if not request.question.strip():
        raise RequestError("question: is empty; write a question", param="question")
    strategy = strategy_of(request, service.settings)
    searching = await service.engine.search(
        Question(request.question, request.reference),
        strategy,
        system=request.system,
        instruction=AUTO if request.instruction is None else request.instruction or None,
        priority=-request.priority,
        cache_salt=request.cache_salt,
    )
    return _SearchRun(request, model, strategy, searching)


def strategy_of(request: SearchRequest, settings: ServerSettings) -> Strategy:
    """The strategy that a request describes.

    Raises:
        RequestError: The strategy does not have a parameter, or the request asks for more than the server allows.
        InputError: The value of a parameter is invalid.
    """
    kind = STRATEGIES[request.strategy]
    given = request.parameters.model_dump(exclude_none=True)
    known = {field.name for field in fields(kind)}
    if unknown := sorted(given.keys() - known):
        taken = ", ".join(sorted(known & SearchParametersRequest.model_fields.keys()))
        raise RequestError(
            f"parameters: strategy {request.strategy} has no {unknown[0]}; it has {taken}", param="parameters"
        )
    if "rollouts" not in given and ("max_tokens" in given or "max_seconds" in given):
        given["rollouts"] = settings.max_choices  # only the limit of tokens or seconds ends the search
    for name, most in _limits(settings).items():
        if given.get(name, 0) > most:
            raise RequestError(f"parameters.{name}: must be at most {most} on this server", param="parameters")
        if name in known and getattr(kind(), name) > most:
            given.setdefault(name, most)
    if "ground-truth" in given.get("value", "") and request.reference is None:
        raise RequestError("reference: the value ground-truth needs the right answer", param="reference")
    return kind(**given, sampling=Sampling(**request.sampling.model_dump(exclude_none=True)))


def _limits(settings: ServerSettings) -> dict[str, int]:
    """The largest allowed value of each limited parameter."""
    tokens = {} if settings.max_tokens is None else {"max_rollout_tokens": settings.max_tokens}
    return dict.fromkeys(_BRANCHES, settings.max_choices) | tokens


class _SearchRun:
    """One request and its answer."""

    def __init__(self, request: SearchRequest, model: str, strategy: Strategy, searching: Searching) -> None:
        self._request = request
        self._id = answer_id("search", request.request_id)
        self._created = int(time.time())
        self._model = model
        self._strategy = strategy
        self._searching = searching

    async def whole(self) -> SearchAnswer:
        """The answer, once the search has ended."""
        try:
            return self._answer(await self._searching.result())
        finally:
            self._searching.cancel()

    async def pieces(self) -> AsyncGenerator[SearchProgress | SearchAnswer]:
        """Progress while the search runs, then the answer."""
        try:
            async for progress in self._searching:
                yield SearchProgress(
                    id=self._id,
                    rollouts=progress.rollouts,
                    nodes=progress.nodes,
                    generated_tokens=progress.generated_tokens,
                    best_value=progress.best_value,
                    best_answer=progress.best_answer,
                    votes=progress.votes,
                )
            yield self._answer(await self._searching.result())
        finally:
            self._searching.cancel()

    def _answer(self, result: SearchResult) -> SearchAnswer:
        reference = self._request.reference
        settings: dict[str, Any] = {"model": self._model, **self._strategy.settings()}
        return SearchAnswer(
            id=self._id,
            created=self._created,
            model=self._model,
            answer=result.answer,
            text=result.text,
            value=result.value,
            confidence=result.confidence,
            correct=None if reference is None else answers_agree(result.answer, reference),
            rollouts=[RolloutAnswer(**asdict(rollout)) for rollout in result.rollouts],
            best_path=list(result.best_path),
            stats=None if result.stats is None else asdict(result.stats),
            tree=tree_object(result, settings) if self._request.tree else None,
        )
