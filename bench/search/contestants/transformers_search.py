"""Three ways to search with transformers: Marco-o1's published loop, `generate()`, and a KV cache kept by hand."""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import DynamicCache

from ...peers.draw import draw_rows
from ...peers.peer import CONFIDENCE_K, TOP_K
from ...peers.transformers_fp32 import TransformersFp32
from ..schedule import Replay, Schedule, Start
from .searcher import Delivered, Searcher, Tally

_PROMPT = -1
"""Key of the prompt's cache, among those of branches."""

_PROBE_SIZE, _PROBE_ROUNDS = 2048, 10
"""A product that tells which dtype is faster: it has more weights than the second cache holds."""


class TransformersSearcher(Searcher):
    """Goes through the waves one after the other. Branches of a wave that continue the same tokens form a batch.

    The model is in bf16 on processors that multiply it faster than fp32, else in fp32.
    """

    _rows: ClassVar[int] = 3
    """Rows of most of its products: by default one token of every sibling."""

    def __init__(self, model: Path, threads: int) -> None:
        self._model: Any = TransformersFp32(model, threads).model  # its types do not know that it can generate
        if _faster_dtype(self._rows) == torch.bfloat16:
            self._model.bfloat16()
        self.weights = str(self._model.dtype).removeprefix("torch.")

    def prepare(self, schedules: Sequence[Schedule]) -> None:
        self._schedules = schedules

    @torch.inference_mode()
    def search(self) -> Delivered:
        tally, replay = Tally(), Replay(self._schedules)
        for wave in replay.waves():
            for _, starts in groupby(sorted(wave, key=lambda start: start.prefix), key=lambda start: start.prefix):
                siblings = list(starts)
                for start, drawn in zip(siblings, self._drawn(siblings, tally), strict=True):
                    replay.finish(start, drawn)
        return tally.delivered()

    @abstractmethod
    def _drawn(self, siblings: Sequence[Start], tally: Tally) -> list[list[int]]:
        """Draw branches that continue the same tokens, and count them; return the tokens of each."""


class PublishedLoop(TransformersSearcher):
    """The loop of Marco-o1's published code (`src/tools/infer/talk_with_model.py`), with a draw for its argmax.

    For every token, the model gets the whole sequence again; there is no cache. One sequence at a time.
    """

    _rows = 256

    def _drawn(self, siblings: Sequence[Start], tally: Tally) -> list[list[int]]:
        return [self._one(start, tally) for start in siblings]

    def _one(self, start: Start, tally: Tally) -> list[int]:
        ids = torch.tensor([start.prefix])
        mask = torch.ones_like(ids)
        confidences = []
        for _ in range(start.branch.tokens):
            drawn = draw_rows(self._model(input_ids=ids, attention_mask=mask).logits[:, -1, :].float())
            ids = torch.cat([ids, drawn.ids[:, None]], dim=-1)
            mask = torch.cat([mask, torch.ones_like(drawn.ids[:, None])], dim=-1)
            confidences.append(drawn.confidences.item())
        tally.add(confidences)
        return ids[0, len(start.prefix) :].tolist()


class Generate(TransformersSearcher):
    """One `generate()` per expansion. It computes the prefix again, once for all samples, and keeps a cache inside.

    The samples of a call end with the longest, as they do when some reach their end-of-sequence token earlier.
    """

    def _drawn(self, siblings: Sequence[Start], tally: Tally) -> list[list[int]]:
        prefix, longest = siblings[0].prefix, max(start.branch.tokens for start in siblings)
        ids = torch.tensor([prefix])
        output = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=1.0,
            top_k=TOP_K,
            top_p=1.0,
            num_return_sequences=len(siblings),
            min_new_tokens=longest,
            max_new_tokens=longest,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
        drawn = output.sequences[:, len(prefix) :]
        confidences = [_confidences(logits, drawn[:, step]) for step, logits in enumerate(output.logits)]
        table = torch.stack(confidences, dim=1).tolist()
        for row, start in zip(table, siblings, strict=True):
            tally.add(row[: start.branch.tokens])
        return [row[: start.branch.tokens] for row, start in zip(drawn.tolist(), siblings, strict=True)]


class HandKeptCache(TransformersSearcher):
    """A KV cache per branch, kept by hand: a fork copies its parent's cache, cut to the tokens that it continues."""

    def prepare(self, schedules: Sequence[Schedule]) -> None:
        super().prepare(schedules)
        self._question = -1

    def _drawn(self, siblings: Sequence[Start], tally: Tally) -> list[list[int]]:
        first = siblings[0]
        if first.question != self._question:
            self._question = first.question
            self._caches = {_PROMPT: self._computed(self._schedules[first.question].prompt[:-1])}
        parent = first.branch.parent
        cache = copy.deepcopy(self._caches[_PROMPT if parent is None else parent])
        if surplus := cache.get_seq_length() - (len(first.prefix) - 1):
            cache.crop(-surplus)
        logits = self._next(torch.tensor([first.prefix[-1:]]), cache)
        cache.batch_repeat_interleave(len(siblings))
        logits = logits.expand(len(siblings), -1)
        drawn: list[list[int]] = [[] for _ in siblings]
        confidences: list[list[float]] = [[] for _ in siblings]
        going = list(range(len(siblings)))
        while True:
            rows = draw_rows(logits)
            for sibling, token, confidence in zip(going, rows.ids.tolist(), rows.confidences.tolist(), strict=True):
                drawn[sibling].append(token)
                confidences[sibling].append(confidence)
            left = [row for row, sibling in enumerate(going) if len(drawn[sibling]) < siblings[sibling].branch.tokens]
            if len(left) < len(going):
                self._keep(cache, [(row, siblings[going[row]]) for row in range(len(going)) if row not in left])
                if not left:
                    break
                going = [going[row] for row in left]
                cache.batch_select_indices(torch.tensor(left))
            logits = self._next(rows.ids[left][:, None], cache)
        for each in confidences:
            tally.add(each)
        return drawn

    def _keep(self, cache: DynamicCache, ended: Sequence[tuple[int, Start]]) -> None:
        for row, start in ended:
            own = copy.deepcopy(cache)
            own.batch_select_indices(torch.tensor([row]))
            self._caches[start.number] = own

    def _computed(self, ids: Sequence[int]) -> DynamicCache:
        cache = DynamicCache(config=self._model.config)
        self._model(torch.tensor([list(ids)]), past_key_values=cache, logits_to_keep=1)
        return cache

    def _next(self, ids: Tensor, cache: DynamicCache) -> Tensor:
        """Return the logits after one more token per row, `[rows, vocab]` fp32."""
        logits: Tensor = self._model(ids, past_key_values=cache, logits_to_keep=1).logits[:, -1]
        return logits.float()


def _faster_dtype(rows: int) -> torch.dtype:
    """Return bf16 or fp32, whichever multiplies `rows` rows faster here."""

    def seconds(dtype: torch.dtype) -> float:
        x, weight = torch.ones(rows, _PROBE_SIZE, dtype=dtype), torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=dtype)
        times = []
        for _ in range(_PROBE_ROUNDS):
            start = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            times.append(time.perf_counter() - start)
        return min(times)

    return min((torch.float32, torch.bfloat16), key=seconds)


def _confidences(logits: Tensor, ids: Tensor) -> Tensor:
    """Return `[rows]`: probabilities of `ids`, divided by those of the five most probable tokens of `[rows, vocab]`."""
    logprobs = logits.float().log_softmax(dim=-1)
    best = logprobs.topk(CONFIDENCE_K, dim=-1).values
    return logprobs.gather(1, ids[:, None])[:, 0].exp() / best.exp().sum(dim=1)
