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
from ..serving.async_request import Generation
from .errors import RequestError
from .forms.ending import told_reason
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
        prompt_tokens: Number of tokens of all prompts.
        cached_tokens: How many of them were in the KV cache.
        drawn_tokens: Number of tokens drawn so far by each sample.
    """

    def __init__(self, service: Service, prompts: Sequence[list[int]], n: int, sampling: Sampling) -> None:
        """Check the limits; `open` starts drawing.

        Raises:
            RequestError: There are more samples or prompts than the server allows.
        """
        most = service.settings.max_choices
        if len(prompts) * n > most:
            raise RequestError(f"n: {len(prompts)} prompts x {n} samples are too many; the limit is {most}")
        service.check_requests(len(prompts), "prompt")
        self.prompts = prompts
        self.n = n
        self.sampling = sampling
        self.prompt_tokens = sum(map(len, prompts))
        self.cached_tokens = 0
        self.drawn_tokens = [0] * (len(prompts) * n)
        self._service = service
        self._generations: list[Generation] = []
        self._started = time.monotonic()
        self._last: float | None = None

    async def open(self, priority: int) -> None:
        """Queue all samples, or none; higher `priority` goes first.

        Raises:
            MarcotError: The engine accepts no more requests, or refuses a prompt.
        """
        times: Counter[tuple[int, ...]] = Counter()
        opening = []
        for ids in self.prompts:
            # Repeated prompts in one request must give different samples.
            first = times[tuple(ids)]
            times[tuple(ids)] += self.n
            opening.append(self._service.engine.generate(ids, self.sampling, n=self.n, first=first, priority=priority))
        opened = await asyncio.gather(*opening, return_exceptions=True)
        self._generations = [each for each in opened if isinstance(each, Generation)]
        for each in opened:
            if isinstance(each, BaseException):
                self.cancel()
                raise each
        self.cached_tokens = sum(generation.cached_tokens for generation in self._generations)

    def cancel(self) -> None:
        """Stop the samples that still run."""
        for generation in self._generations:
            generation.cancel()

    async def whole(self) -> list[Completion]:
        """Wait for all samples to end; return them in order."""
        try:
            each = await together(generation.completions() for generation in self._generations)
        finally:
            self.cancel()
        drawn = [completion for completions in each for completion in completions]
        self.drawn_tokens = [len(completion.token_ids) for completion in drawn]
        self._count_end([told_reason(completion.finish_reason) or "abort" for completion in drawn])
        return drawn

    async def pieces(self) -> AsyncGenerator[SamplePiece]:
        """Yield the pieces of all samples as they arrive."""
        reasons: list[str] = []
        try:
            async with aclosing(self._merged()) as merged:
                async for piece in merged:
                    self.drawn_tokens[piece.sample] += len(piece.drawn.token_ids)
                    self._count_piece()
                    if piece.drawn.finish_reason is not None:
                        reasons.append(told_reason(piece.drawn.finish_reason) or "abort")
                    yield piece
        finally:
            self.cancel()
            self._count_end(reasons + ["abort"] * (len(self.drawn_tokens) - len(reasons)))

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

    def _count_piece(self) -> None:
        now = time.monotonic()
        if self._last is None:
            self._service.metrics.first_token(now - self._started)
        else:
            self._service.metrics.gap(now - self._last)
        self._last = now

    def _count_end(self, reasons: list[str]) -> None:
        self._service.metrics.ended(time.monotonic() - self._started, reasons)
