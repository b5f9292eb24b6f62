"""Routes for Marco-o1's published clients: `POST /generate` for its tree search, `POST /chat/` for its demos."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ....kernels import MarcotError
from ....model.files import strict_json
from ...sampling.sampling import Sampling
from ..answers import ERRORS, json_response
from ..errors import CLIENT_CLOSED, RequestError, status_of
from ..prompts import text_ids
from ..samples import Samples
from ..schemas.marco_o1 import (
    MarcoChatAnswer,
    MarcoChatRequest,
    MarcoErrorAnswer,
    MarcoGenerateAnswer,
    MarcoGenerateRequest,
    MarcoMessage,
)
from ..service import Service, ServiceOf
from ..strict_route import StrictRoute
from ..waiting import while_connected

router = APIRouter(route_class=StrictRoute, tags=["Marco-o1"])

_TOP_P = 0.9
"""`top_p` of Marco-o1's servers; requests cannot change it."""

_CHAT_TOKENS = 4096
"""Maximum tokens of an answer in Marco-o1's demos."""

_CHAT_END = "</Output>"
"""Stop text of an answer in Marco-o1's demos."""

_FAILED: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    500: {"model": MarcoErrorAnswer, "description": "The samples could not be drawn."},
}


@router.post("/generate", response_model=MarcoGenerateAnswer, responses=_FAILED)
async def generate(request: MarcoGenerateRequest, http: Request, service: ServiceOf) -> Response:
    """Draw exactly `n` samples that continue the answer to a question."""
    try:
        drawn = await while_connected(http, _continued(service, request), service.settings.request_timeout)
    except (MarcotError, RequestError) as error:
        status = error.status if isinstance(error, RequestError) else status_of(error)
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, CLIENT_CLOSED):
            raise
        return JSONResponse({"error": str(error)}, HTTPStatus.INTERNAL_SERVER_ERROR)
    return json_response(MarcoGenerateAnswer(response=drawn))


async def _continued(service: Service, request: MarcoGenerateRequest) -> list[str]:
    messages = [{"role": "user", "content": request.user_question}]
    prompt = service.tokenizer.chat(messages, tools=_tools(request.use_tools)) + request.model_output
    sampling = Sampling(
        temperature=request.temperature,
        top_p=_TOP_P,
        top_k=0,
        stop=tuple(end for end in request.end_tokens.split(",") if end),
        max_tokens=service.most_tokens(request.max_tokens, is_default=request.leaves_out("max_tokens")),
        seed=None,
    )
    samples = Samples(service, [await text_ids(service, prompt, add_special_tokens=False)], request.n, sampling)
    await samples.open()
    return [completion.text for completion in await samples.whole()]


def _tools(text: str) -> object:
    """Parse the tools for the chat template, which clients send as a JSON string; `{}` gives None, no tools."""
    try:
        return strict_json.parse(text) or None
    except ValueError as error:
        raise RequestError(f"use_tools: {error}", param="use_tools") from error


@router.post("/chat/", response_model=MarcoChatAnswer, responses=ERRORS)
async def chat(request: MarcoChatRequest, http: Request, service: ServiceOf) -> Response:
    """Answer the next message of a conversation; with `--compat marco-o1-stream`, as a stream of plain text."""
    if not request.user_input:
        raise RequestError("user_input: is empty; write a message", param="user_input")
    timeout = service.settings.request_timeout
    if service.settings.compat != "marco-o1-stream":
        return json_response(await while_connected(http, _answered(service, request), timeout))
    end = asyncio.get_running_loop().time() + timeout
    samples = await while_connected(http, _begun(service, _conversation(request)), timeout)
    return StreamingResponse(_text(samples, end), media_type="text/plain")


def _conversation(request: MarcoChatRequest) -> list[dict[str, Any]]:
    """All messages, the new one last."""
    return [*(message.for_template() for message in request.history), {"role": "user", "content": request.user_input}]


async def _begun(service: Service, history: list[dict[str, Any]]) -> Samples:
    """The answer to a conversation, queued."""
    ids = await text_ids(service, service.tokenizer.chat(history), add_special_tokens=False)
    most = min(service.most_tokens(None), _CHAT_TOKENS)
    samples = Samples(service, [ids], 1, Sampling(temperature=0, stop=(_CHAT_END,), include_stop=True, max_tokens=most))
    await samples.open()
    return samples


async def _answered(service: Service, request: MarcoChatRequest) -> MarcoChatAnswer:
    history = _conversation(request)
    [drawn] = await (await _begun(service, history)).whole()
    history.append({"role": "assistant", "content": drawn.text})
    messages = [MarcoMessage(role=message["role"], content=message["content"]) for message in history]
    return MarcoChatAnswer(response=drawn.text, history=messages)


async def _text(samples: Samples, end: float) -> AsyncIterator[str]:
    """The text of a sample; at `end`, by the event loop's clock, the connection breaks, as plain text has no errors."""
    async with asyncio.timeout_at(end), aclosing(samples.pieces()) as pieces:
        async for piece in pieces:
            if piece.drawn.text:
                yield piece.drawn.text
