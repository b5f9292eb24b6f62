"""`POST /generative_scoring`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from fastapi import APIRouter, Request

from ..answers import ERRORS, answer_id
from ..errors import RequestError
from ..prompts import prompt_ids, text_ids
from ..schemas.scoring import ScoredItem, ScoringAnswer, ScoringRequest
from ..schemas.usage import UsageAnswer
from ..service import Service, ServiceOf
from ..strict_route import StrictRoute
from ..waiting import together, while_connected

router = APIRouter(route_class=StrictRoute, tags=["vLLM"], responses=ERRORS)


@router.post("/generative_scoring")
async def generative_scoring(request: ScoringRequest, http: Request, service: ServiceOf) -> ScoringAnswer:
    """Return how probable each label is as the token that follows the query and each item."""
    return await while_connected(http, _scored(service, request), service.settings.request_timeout)


async def _scored(service: Service, request: ScoringRequest) -> ScoringAnswer:
    model = service.model_name(request.model)
    items = [request.items] if isinstance(request.items, str) else request.items
    labels = request.label_token_ids
    wanted, most = len(items) * len(labels), service.settings.max_choices
    if wanted > most:
        raise RequestError(
            f"items: {wanted} scores (items x labels) are more than {most}: send fewer at a time",
            param="items",
        )
    service.check_requests(len(items), "items")
    prompts = [await _prompt(service, request, item) for item in items]
    rated = await together(_rated(service, prompt, request) for prompt in prompts)
    tokens = sum(map(len, prompts))
    return ScoringAnswer(
        id=answer_id("generative-scoring", request.request_id),
        created=int(time.time()),
        model=model,
        data=[_item(index, labels, logprobs, request.apply_softmax) for index, logprobs in enumerate(rated)],
        usage=UsageAnswer(prompt_tokens=tokens, completion_tokens=0, total_tokens=tokens),
    )


async def _prompt(service: Service, request: ScoringRequest, item: str | list[int]) -> list[int]:
    first, second = (item, request.query) if request.item_first else (request.query, item)
    if isinstance(first, str) and isinstance(second, str):
        return await text_ids(service, first + second, request.add_special_tokens)
    return [
        *await prompt_ids(service, first, request.add_special_tokens),
        *await prompt_ids(service, second, add_special_tokens=False),
    ]


async def _rated(service: Service, prompt: list[int], request: ScoringRequest) -> list[float]:
    """The raw log-probability of each label after `prompt`."""
    priority = -request.priority
    node = await service.engine.prefill(prompt, priority=priority, cache_salt=request.cache_salt)
    try:
        labels = [[label] for label in request.label_token_ids]
        scores = await service.engine.score(labels, 1, after=node, priority=priority)
        return [float(score.logprobs[0]) for score in scores]
    finally:
        node.release()


def _item(index: int, labels: Sequence[int], logprobs: list[float], apply_softmax: bool) -> ScoredItem:
    weights = [math.exp(logprob) for logprob in logprobs]
    if apply_softmax:
        best = max(logprobs)
        weights = [math.exp(logprob - best) for logprob in logprobs]
        total = sum(weights)
        weights = [weight / total for weight in weights]
    named = [str(label) for label in labels]
    return ScoredItem(
        index=index,
        score=weights[0],
        token_probs=dict(zip(named, weights, strict=True)),
        token_logprobs=dict(zip(named, logprobs, strict=True)),
    )
