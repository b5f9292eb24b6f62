"""The samples of one request while they are drawn."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from ..completion import Completion
from ..sampling.sampling import Sampling
from ..scoring import Score
from ..serving.async_request import Generation
from .errors import RequestError
from .forms.ending import told_reason
from .schemas.usage import PromptTokensDetails, UsageAnswer
from .service import Service
from .waiting import together


class SamplePiece(NamedTuple):
    """What one sample has drawn since its previous piece.

    Attributes:
        sample: Number of the sample, counted prompt by prompt with `n` samples each.
        drawn: The new tokens; `finish_reason` is set only in the last piece.
    """

    sample: int
    drawn: Completion


class Samples:
    """The samples of one or more prompts, all drawn in one batch; `cancel` stops those that still run.

    Attributes:
        prompts: Token ids of each prompt.
        n: Number of samples of each prompt.
        sampling: How they are drawn.
    """

    def __init__(
        self,
        service: Service,
        prompts: Sequence[list[int]],
        n: int,
        sampling: Sampling,
        priority: int = 0,
        cache_salt: str | None = None,
    ) -> None:
        """Check the limits; `open` starts drawing. Lower `priority` goes first; see `Engine.prefill` for `cache_salt`.

        Raises:
            RequestError: There are more samples or prompts than the server allows.
        """
        most = service.settings.max_choices
        if len(prompts) * n > most:
            raise RequestError(f"n: {len(prompts) * n} samples are more than {most}: send fewer at a time", param="n")
        service.check_requests(len(prompts), "prompt")
        self.prompts = prompts
        self.n = n
        self.sampling = sampling
        self._service = service
        self._drawn_tokens = [0] * (len(prompts) * n)
        self._cached_tokens = 0
        self._rated = False  # a rating computes all tokens of the prompts, so none are saved
        self._priority = -priority  # the engine's higher ones go first
        self._cache_salt = cache_salt
        self._generations: list[Generation] = []
        self._started = time.monotonic()
        self._last: dict[int, float] = {}

    async def rate_prompts(self, top: int, *, draws: bool = True) -> list[Score]:
        """Log-probabilities of the prompts' tokens and the `top` most probable ones per position.

        Call it before `open`, which then need not compute the prompts again.

        Args:
            top: Number of tokens; at least one is computed.
            draws: Whether samples will be drawn.

        Raises:
            MarcotError: The engine accepts no more requests, or refuses a prompt.
        """
        self._rated = True
        return await self._service.engine.score(
            self.prompts, max(top, 1), priority=self._priority, keep=draws, cache_salt=self._cache_salt
        )

    async def open(self) -> None:
        """Queue all samples, or none.

        Raises:
            MarcotError: The engine accepts no more requests, or refuses a prompt.
        """
        times: Counter[tuple[int, ...]] = Counter()
        opening = []
        for ids in self.prompts:
            # Repeated prompts in one request must give different samples.
            first = times[tuple(ids)]
            times[tuple(ids)] += self.n
            opening.append(
                self._service.engine.generate(
                    ids,
                    self.sampling,
                    n=self.n,
                    first=first,
                    priority=self._priority,
                    cache_salt=self._cache_salt,
                )
            )
        opened = await asyncio.gather(*opening, return_exceptions=True)
        self._generations = [each for each in opened if isinstance(each, Generation)]
        for each in opened:
            if isinstance(each, BaseException):
                self.cancel()
                raise each
        if not self._rated:
            self._cached_tokens = sum(generation.cached_tokens for generation in self._generations)

    def usage(self) -> UsageAnswer:
        """Token counts so far."""
        prompt_tokens, drawn_tokens = sum(map(len, self.prompts)), sum(self._drawn_tokens)
        return UsageAnswer(
            prompt_tokens=prompt_tokens,
            completion_tokens=drawn_tokens,
            total_tokens=prompt_tokens + drawn_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self._cached_tokens),
        )

    def cancel(self) -> None:
        """Stop the samples that still run."""
        for generation in self._generations:
            generation.cancel()

    async def whole(self) -> list[Completion]:
        """Wait for all samples to end; return them in order."""
        reasons: list[str] = []
        try:
            each = await together(generation.completions() for generation in self._generations)
            drawn = [completion for completions in each for completion in completions]
            self._drawn_tokens = [len(completion.token_ids) for completion in drawn]
            reasons = [_reason(completion) for completion in drawn]
            return drawn
        finally:
            self.cancel()
            self._count_end(reasons)

    async def pieces(self) -> AsyncGenerator[SamplePiece]:
        """Yield the pieces of all samples as they arrive."""
        reasons: list[str] = []
        try:
            async with aclosing(self._merged()) as merged:
                async for piece in merged:
                    self._drawn_tokens[piece.sample] += len(piece.drawn.token_ids)
                    self._count_piece(piece.sample)
                    if piece.drawn.finish_reason is not None:
                        reasons.append(_reason(piece.drawn))
                    yield piece
        finally:
            self.cancel()
            self._count_end(reasons)

    async def _merged(self) -> AsyncGenerator[SamplePiece]:
        if len(self._generations) == 1:
            async for piece in self._generations[0]:
                yield SamplePiece(piece.choice, piece.drawn)
            return
        queue: asyncio.Queue[SamplePiece | BaseException | None] = asyncio.Queue(maxsize=1)
        readers = [asyncio.create_task(self._read(at, queue)) for at in range(len(self._generations))]
        try:
            left = len(readers)
            while left:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    left -= 1
                else:
                    yield item
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read(self, at: int, queue: asyncio.Queue[SamplePiece | BaseException | None]) -> None:
        try:
            async for piece in self._generations[at]:
                await queue.put(SamplePiece(at * self.n + piece.choice, piece.drawn))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    def _count_piece(self, sample: int) -> None:
        now = time.monotonic()
        if not self._last:
            self._service.metrics.first_token(now - self._started)
        elif sample in self._last:
            self._service.metrics.gap(now - self._last[sample])
        self._last[sample] = now

    def _count_end(self, reasons: list[str]) -> None:
        """Count the end of the request; samples without a reason were cut off."""
        cut_off = len(self._drawn_tokens) - len(reasons)
        self._service.metrics.ended(time.monotonic() - self._started, reasons + ["abort"] * cut_off)


def _reason(completion: Completion) -> str:
    return told_reason(completion.finish_reason) or "abort"
