"""`POST /inference/v1/generate`: tokens in, tokens out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from ...completion import Completion
from ..answers import answer_id, errors_and_events
from ..errors import RequestError
from ..forms.drawing import check_logprobs, sampling_of
from ..forms.ending import told_reason
from ..forms.logprobs import chat_logprobs, prompt_logprobs
from ..forms.sample_progress import SampleProgress
from ..forms.token_texts import TokenTexts
from ..prompts import truncated
from ..run import respond
from ..samples import Samples
from ..schemas.completion import PromptLogprobs
from ..schemas.generate import GenerateAnswer, GenerateChoice, GenerateRequest
from ..schemas.usage import UsageAnswer
from ..service import Service, ServiceOf
from ..strict_route import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["vLLM"])


@router.post("/inference/v1/generate", response_model=GenerateAnswer, responses=errors_and_events(GenerateAnswer))
async def generate(request: GenerateRequest, http: Request, service: ServiceOf) -> Response:
    """Continue a prompt of token ids; the answer has token ids too."""
    timeout = service.settings.request_timeout
    return await respond(http, _begun(request, service), stream=bool(request.stream), timeout=timeout)


async def _begun(request: GenerateRequest, service: Service) -> _GenerateRun:
    """Check the whole request and queue its work."""
    service.model_name(request.model)
    drawing = request.sampling_params
    check_logprobs(drawing.prompt_logprobs, service.settings, "sampling_params.prompt_logprobs")
    if drawing.stream:
        raise RequestError("sampling_params.stream: set stream outside sampling_params", param="sampling_params.stream")
    most = service.most_tokens(drawing.max_tokens, is_default=drawing.leaves_out("max_tokens"))
    sampling = sampling_of(drawing, most, drawing.logprobs, service.settings)
    ids = truncated(request.token_ids, drawing.truncate_prompt_tokens, drawing.max_tokens, service.context)
    samples = Samples(service, [ids], drawing.n or 1, sampling, request.priority, request.cache_salt)
    texts = TokenTexts(service.engine.engine.tokenizer, as_ids=True)
    rated: PromptLogprobs | None = None
    if drawing.prompt_logprobs is not None:
        [score] = await samples.rate_prompts(drawing.prompt_logprobs)
        rated = prompt_logprobs(score, drawing.prompt_logprobs, texts)
    await samples.open()
    return _GenerateRun(request, service, samples, texts, rated)


class _GenerateRun:
    """One request and its answer."""

    def __init__(
        self,
        request: GenerateRequest,
        service: Service,
        samples: Samples,
        texts: TokenTexts,
        rated: PromptLogprobs | None,
    ) -> None:
        self._request = request
        self._id = answer_id("gen", None) if request.request_id is None else request.request_id
        self._samples = samples
        self._texts = texts
        self._rated = rated
        tokenizer = service.engine.engine.tokenizer
        self._progress = [SampleProgress(tokenizer, samples.sampling, True) for _ in range(samples.n)]

    async def whole(self) -> GenerateAnswer:
        """The whole answer, once all samples have ended."""
        drawn = await self._samples.whole()
        choices = [self._choice(index, each) for index, each in enumerate(drawn)]
        return self._piece(choices, self._rated, self._samples.usage())

    async def pieces(self) -> AsyncGenerator[GenerateAnswer]:
        """The chunks of the streamed answer; the first has the log-probabilities of the prompt."""
        options = self._request.stream_options
        running = options is not None and options.continuous_usage_stats
        rated = self._rated
        async with aclosing(self._samples.pieces()) as pieces:
            async for index, drawn in pieces:
                usage = self._samples.usage() if running else None
                yield self._piece([self._choice(index, drawn)], rated, usage)
                rated = None
        if options is not None and options.include_usage:
            yield self._piece([], None, self._samples.usage())

    def _choice(self, index: int, drawn: Completion) -> GenerateChoice:
        top = self._request.sampling_params.logprobs
        progress = self._progress[index]
        progress.text(drawn)
        return GenerateChoice(
            index=index,
            token_ids=drawn.token_ids.tolist(),
            logprobs=None if top is None else chat_logprobs(drawn, top, self._texts),
            finish_reason=told_reason(drawn.finish_reason),
            stop_reason=drawn.stop_reason,
            confidence=progress.confidence(drawn),
        )

    def _piece(
        self, choices: list[GenerateChoice], rated: PromptLogprobs | None, usage: UsageAnswer | None
    ) -> GenerateAnswer:
        return GenerateAnswer(request_id=self._id, choices=choices, prompt_logprobs=rated, usage=usage)
