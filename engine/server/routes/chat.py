"""`POST /v1/chat/completions`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from ..answers import answer_id, errors_and_events
from ..errors import RequestError
from ..forms.chat_text import ChatText
from ..forms.drawing import check_logprobs, sampling_of
from ..forms.logprobs import prompt_logprobs
from ..forms.token_texts import TokenTexts
from ..prompts import chat_ids, truncated
from ..run import respond
from ..samples import Samples
from ..schemas.chat import ChatAnswer, ChatPiece, ChatPieceChoice, ChatRequest
from ..schemas.completion import PromptLogprobs
from ..schemas.usage import UsageAnswer
from ..service import Service, ServiceOf
from ..strict_route import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["OpenAI"])


@router.post("/v1/chat/completions", response_model=ChatAnswer, responses=errors_and_events(ChatPiece))
async def chat(request: ChatRequest, http: Request, service: ServiceOf) -> Response:
    """Answer a conversation."""
    timeout = service.settings.request_timeout
    return await respond(http, _begun(request, service), stream=bool(request.stream), timeout=timeout)


async def _begun(request: ChatRequest, service: Service) -> _ChatRun:
    """Check the whole request and queue its work."""
    model = service.model_name(request.model)
    check_logprobs(request.prompt_logprobs, service.settings, "prompt_logprobs")
    if request.top_logprobs and not request.logprobs:
        raise RequestError("top_logprobs: set logprobs to true", param="top_logprobs")
    wanted, most = request.max_tokens, service.most_tokens(request.max_tokens)
    if request.max_completion_tokens is not None:
        wanted = most = service.most_tokens(request.max_completion_tokens, "max_completion_tokens")
    sampling = sampling_of(request, most, request.top_logprobs, service.settings)
    ids = truncated(await chat_ids(service, request), request.truncate_prompt_tokens, wanted, service.context)
    samples = Samples(service, [ids], request.n or 1, sampling, request.priority, request.cache_salt)
    texts = TokenTexts(service.engine.engine.tokenizer, bool(request.return_tokens_as_token_ids))
    rated: PromptLogprobs | None = None
    if request.prompt_logprobs is not None:
        [score] = await samples.rate_prompts(request.prompt_logprobs)
        rated = prompt_logprobs(score, request.prompt_logprobs, texts)
    await samples.open()
    return _ChatRun(request, model, service, samples, texts, rated)


class _ChatRun:
    """One request and its answer."""

    def __init__(
        self,
        request: ChatRequest,
        model: str,
        service: Service,
        samples: Samples,
        texts: TokenTexts,
        rated: PromptLogprobs | None,
    ) -> None:
        self._id = answer_id("chatcmpl", request.request_id)
        self._created = int(time.time())
        self._model = model
        self._options = request.stream_options
        self._samples = samples
        self._rated = rated
        self._prompt_ids = samples.prompts[0] if request.return_token_ids else None
        tokenizer = service.engine.engine.tokenizer
        self._texts = [ChatText(request, index, samples.sampling, tokenizer, texts) for index in range(samples.n)]

    async def whole(self) -> ChatAnswer:
        """The whole answer, once all samples have ended."""
        drawn = await self._samples.whole()
        return ChatAnswer(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[text.whole(each) for text, each in zip(self._texts, drawn, strict=True)],
            usage=self._samples.usage(),
            prompt_logprobs=self._rated,
            prompt_token_ids=self._prompt_ids,
        )

    async def pieces(self) -> AsyncGenerator[ChatPiece]:
        """The chunks of the streamed answer."""
        options = self._options
        running = options is not None and options.continuous_usage_stats
        async with aclosing(self._samples.pieces()) as pieces:
            for text in self._texts:
                opening = self._piece([text.opening()], self._samples.usage() if running else None)
                opening.prompt_logprobs, opening.prompt_token_ids = self._rated, self._prompt_ids
                yield opening
            async for index, drawn in pieces:
                if self._texts[index].says_something(choice := self._texts[index].piece(drawn)):
                    yield self._piece([choice], self._samples.usage() if running else None)
        if options is not None and options.include_usage:
            yield self._piece([], self._samples.usage())

    def _piece(self, choices: list[ChatPieceChoice], usage: UsageAnswer | None) -> ChatPiece:
        return ChatPiece(id=self._id, created=self._created, model=self._model, choices=choices, usage=usage)
