"""`POST /inference/v1/generate`: tokens in, tokens out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from ...completion import Completion
from ..answers import answer_id, errors_and_events, json_response
from ..errors import RequestError
from ..events import event_response
from ..forms.drawing import check_logprobs, sampling_of
from ..forms.ending import told_reason
from ..forms.logprobs import chat_logprobs, prompt_logprobs
from ..forms.sample_progress import SampleProgress
from ..forms.token_texts import TokenTexts
from ..forms.usage import usage_of
from ..prompts import truncated
from ..samples import Samples
from ..schemas.completion import PromptLogprobs
from ..schemas.generate import GenerateAnswer, GenerateChoice, GenerateRequest
from ..service import Service, ServiceOf
from ..strict_route import StrictRoute
from ..waiting import while_connected

router = APIRouter(route_class=StrictRoute, tags=["vLLM"])


@router.post(
    "/inference/v1/generate", response_model=GenerateAnswer, responses=errors_and_events("Chunks, then [DONE].")
)
async def generate(request: GenerateRequest, http: Request, service: ServiceOf) -> Response:
    """Continue a prompt of token ids; the answer has token ids too."""
    timeout = service.settings.request_timeout
    run = await while_connected(http, _begun(request, service), timeout)
    if request.stream:
        return event_response(run.pieces(), timeout)
    return json_response(await while_connected(http, run.whole(), timeout))


async def _begun(request: GenerateRequest, service: Service) -> _GenerateRun:
    """Check the whole request and queue its work."""
    service.model_name(request.model)
    drawing = request.sampling_params
    check_logprobs(drawing.prompt_logprobs, service.settings, "sampling_params.prompt_logprobs")
    if drawing.stream:
        raise RequestError("sampling_params.stream: set stream outside sampling_params", param="sampling_params.stream")
    sampling = sampling_of(drawing, service.most_tokens(drawing.max_tokens), drawing.logprobs, service.settings)
    ids = truncated(request.token_ids, drawing.truncate_prompt_tokens, drawing.max_tokens, service.context)
    samples = Samples(service, [ids], drawing.n or 1, sampling)
    await samples.open(-request.priority)
    run = _GenerateRun(request, service, samples)
    if drawing.prompt_logprobs is not None:
        try:
            [score] = await service.engine.score([ids], max(drawing.prompt_logprobs, 1), priority=-request.priority)
        except BaseException:
            samples.cancel()
            raise
        run.prompt_logprobs = prompt_logprobs(score, drawing.prompt_logprobs, run.texts)
    return run


class _GenerateRun:
    """One request and its answer."""

    def __init__(self, request: GenerateRequest, service: Service, samples: Samples) -> None:
        tokenizer = service.engine.engine.tokenizer
        self.texts = TokenTexts(tokenizer, as_ids=True)
        self.prompt_logprobs: PromptLogprobs | None = None
        self._request = request
        self._id = answer_id("gen", request.request_id) if request.request_id is None else request.request_id
        self._samples = samples
        self._progress = [SampleProgress(tokenizer, samples.sampling, True) for _ in range(samples.n)]

    async def whole(self) -> GenerateAnswer:
        """The whole answer, once all samples have ended."""
        drawn = await self._samples.whole()
        choices = [self._choice(index, each) for index, each in enumerate(drawn)]
        return self._piece(choices, usage=True)

    async def pieces(self) -> AsyncGenerator[GenerateAnswer]:
        """The chunks of the streamed answer."""
        options = self._request.stream_options
        running = options is not None and options.continuous_usage_stats
        async with aclosing(self._samples.pieces()) as pieces:
            async for index, drawn in pieces:
                yield self._piece([self._choice(index, drawn)], usage=running)
                self.prompt_logprobs = None  # sent only once
        if options is not None and options.include_usage:
            yield self._piece([], usage=True)

    def _choice(self, index: int, drawn: Completion) -> GenerateChoice:
        top = self._request.sampling_params.logprobs
        progress = self._progress[index]
        progress.text(drawn)
        return GenerateChoice(
            index=index,
            token_ids=drawn.token_ids.tolist(),
            logprobs=None if top is None else chat_logprobs(drawn, top, self.texts),
            finish_reason=told_reason(drawn.finish_reason),
            stop_reason=progress.stop_reason(drawn),
            confidence=progress.confidence(drawn),
        )

    def _piece(self, choices: list[GenerateChoice], usage: bool) -> GenerateAnswer:
        samples = self._samples
        return GenerateAnswer(
            request_id=self._id,
            choices=choices,
            prompt_logprobs=self.prompt_logprobs,
            usage=usage_of(samples.prompt_tokens, samples.cached_tokens, sum(samples.drawn_tokens)) if usage else None,
        )
