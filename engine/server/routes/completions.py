"""`POST /v1/completions`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from ...scoring import Score
from ..answers import answer_id, errors_and_events
from ..forms.completion_text import CompletionText
from ..forms.drawing import check_logprobs, sampling_of
from ..forms.token_texts import TokenTexts
from ..prompts import prompt_ids, truncated
from ..run import respond
from ..samples import Samples
from ..schemas.completion import CompletionAnswer, CompletionChoice, CompletionRequest
from ..schemas.usage import UsageAnswer
from ..service import Service, ServiceOf
from ..strict_route import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["OpenAI"])


@router.post("/v1/completions", response_model=CompletionAnswer, responses=errors_and_events(CompletionAnswer))
async def completions(request: CompletionRequest, http: Request, service: ServiceOf) -> Response:
    """Continue one or more prompts."""
    timeout = service.settings.request_timeout
    return await respond(http, _begun(request, service), stream=bool(request.stream), timeout=timeout)


async def _begun(request: CompletionRequest, service: Service) -> _CompletionRun:
    """Check the whole request and queue its work."""
    model = service.model_name(request.model)
    check_logprobs(request.prompt_logprobs, service.settings, "prompt_logprobs")
    most = service.most_tokens(request.max_tokens, is_default=request.leaves_out("max_tokens"))
    sampling = sampling_of(request, max(most, 1), request.logprobs, service.settings)
    prompts: list[list[int]] = []
    echoes: list[str] = []  # the texts of the prompts, if requested
    for prompt in _prompts(request):
        ids = await prompt_ids(service, prompt, request.add_special_tokens)
        kept = truncated(ids, request.truncate_prompt_tokens, request.max_tokens, service.context)
        prompts.append(kept)
        if request.echo:
            echoes.append(prompt if isinstance(prompt, str) and len(kept) == len(ids) else service.decoded(kept))
    samples = Samples(service, prompts, request.n or 1, sampling, request.priority, request.cache_salt)
    scores: list[Score] = []
    if request.prompt_logprobs is not None or (request.echo and request.logprobs is not None) or not most:
        scores = await samples.rate_prompts(max(request.logprobs or 0, request.prompt_logprobs or 0), draws=most > 0)
    if most:
        await samples.open()
    return _CompletionRun(request, model, service, samples, echoes, scores)


class _CompletionRun:
    """One request and its answer."""

    def __init__(
        self,
        request: CompletionRequest,
        model: str,
        service: Service,
        samples: Samples,
        echoes: list[str],
        scores: list[Score],
    ) -> None:
        self._id = answer_id("cmpl", request.request_id)
        self._created = int(time.time())
        self._model = model
        self._draws = request.max_tokens != 0
        self._options = request.stream_options
        self._samples = samples
        tokenizer = service.engine.engine.tokenizer
        texts = TokenTexts(tokenizer, bool(request.return_tokens_as_token_ids))
        self._texts = [
            CompletionText(
                request,
                at * samples.n + sample,
                prompt,
                echoes[at] if echoes else "",
                samples.sampling,
                tokenizer,
                texts,
                scores[at] if scores else None,
            )
            for at, prompt in enumerate(samples.prompts)
            for sample in range(samples.n)
        ]

    async def whole(self) -> CompletionAnswer:
        """The whole answer, once all samples have ended."""
        drawn = await self._samples.whole() if self._draws else [None] * len(self._texts)
        choices = [text.whole(each) for text, each in zip(self._texts, drawn, strict=True)]
        return self._piece(choices, self._samples.usage())

    async def pieces(self) -> AsyncGenerator[CompletionAnswer]:
        """The chunks of the streamed answer."""
        options = self._options
        running = options is not None and options.continuous_usage_stats
        async with aclosing(self._choices()) as choices:
            async for choice in choices:
                yield self._piece([choice], self._samples.usage() if running else None)
        if options is not None and options.include_usage:
            yield self._piece([], self._samples.usage())

    async def _choices(self) -> AsyncGenerator[CompletionChoice]:
        if not self._draws:
            for text in self._texts:
                yield text.whole(None)
            return
        async with aclosing(self._samples.pieces()) as pieces:
            for text in self._texts:
                if text.says_something(choice := text.beginning()):
                    yield choice
            async for index, drawn in pieces:
                if self._texts[index].says_something(choice := self._texts[index].piece(drawn)):
                    yield choice

    def _piece(self, choices: list[CompletionChoice], usage: UsageAnswer | None) -> CompletionAnswer:
        return CompletionAnswer(id=self._id, created=self._created, model=self._model, choices=choices, usage=usage)


def _prompts(request: CompletionRequest) -> list[str] | list[list[int]]:
    """The prompts of a request, each a text or a list of token ids."""
    prompt = request.prompt
    if isinstance(prompt, str):
        return [prompt]
    if not prompt or isinstance(prompt[0], int):
        return [[token for token in prompt if isinstance(token, int)]]
    return prompt
