"""A round: up to 16 tokens on every row of a batch, decoded one after the other without the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels import Draw, RoundState, SampleParams
from ..decoder import Decoder, StepInput
from ..kv_cache import KVCache
from .drawn_tokens import DrawnTokens

ROUND_TOKENS: Final = 16
"""Maximum tokens of a round: one page of the KV cache, so that a row needs at most one new page per round."""

ROUND_ENDS: Final = 8
"""Maximum number of end tokens that the device checks per row: a model's two or three, and some of the user's."""


class Round(NamedTuple):
    """The input of a round; its tensors are on the host.

    Attributes:
        tokens: `T`, the maximum number of tokens that a row draws.
        step: The forward step that draws each row's first token; all rows are outputs. Its plan also has slots for the
            other tokens.
        next_places: `[rows, T]` int64, the cache slot of the i-th token that the row draws; -1 if it has none.
        params: Sampling parameters of each row.
        draw_temperature: `[rows]` fp32, temperatures of draws over the whole vocabulary, 0 for rows without one; None
            if no row has one.
        ends: `[rows, ROUND_ENDS]` int64, tokens that end the row, padded with -1.
        limit: `[rows]` int32, maximum tokens that the row draws; a row with 0 only computes its hidden state.
        candidates: How many of the most probable tokens to return.
    """

    tokens: int
    step: StepInput
    next_places: Tensor
    params: SampleParams
    draw_temperature: Tensor | None
    ends: Tensor
    limit: Tensor
    candidates: int

    @property
    def draw(self) -> Draw | None:
        """Parameters of the draws over the whole vocabulary; None if no row needs one."""
        if self.draw_temperature is None:
            return None
        return Draw(self.draw_temperature, self.params.key, self.params.position)


class Patience(NamedTuple):
    """How long the host waits for a round on the CPU, if no row ends. Results do not depend on it.

    Attributes:
        seconds: The round draws only as many tokens as fit in this time, and at least one.
        is_over: Asked after each token, with the ids that every row has drawn (`[t, rows]` int32): whether the host
            wants the round to end.
    """

    seconds: float
    is_over: Callable[[NDArray[np.int32]], bool]


class Drawn(NamedTuple):
    """The results of a round, on the host except for `hidden`. Only the first `counts` tokens of a row are valid.

    Attributes:
        hidden: `[rows, hidden]` on the device, the hidden state that each unfinished row's next token is drawn from;
            valid until the next round.
        counts: `[rows]` int32, how many tokens the row has drawn.
        waits: `[rows]` bool, whether the row waits for the host to choose its next token. Any other row has drawn one
            of its `ends`, has reached its limit, or goes on in the next round.
        tokens: `[rows, t]`, the tokens, with `k` candidates each; `t <= T` if the round has ended early.
    """

    hidden: Tensor
    counts: NDArray[np.int32]
    waits: NDArray[np.bool_]
    tokens: DrawnTokens


def next_token(
    decoder: Decoder,
    cache: KVCache,
    step: StepInput,
    state: RoundState,
    params: SampleParams,
    draw: Draw | None,
    candidates: int,
) -> Tensor:
    """Run the forward step on every row, draw a token, and advance the rows (`Kernels.advance`), without waiting.

    Fields of `step`, `state`, `params` and `draw` with the same meaning share memory, so that the next call continues.

    Returns:
        `[rows, hidden]`, the hidden states that the tokens were drawn from.
    """
    hidden = decoder.forward(step, cache)
    hidden = hidden.masked_fill(step.slots[:, None] < 0, 0)  # rows without a slot may be NaN, which breaks top-k
    head = decoder.kernels.lm_head_topk(hidden, decoder.head, candidates, draw=draw)
    decoder.kernels.advance(state, head, params)
    return hidden


@torch.inference_mode()
def run_round(decoder: Decoder, cache: KVCache, round: Round, patience: Patience | None = None) -> Drawn:
    """Run `round` token by token; with graphs, `DecodeGraphs` is faster. On the CPU its tensors are modified.

    With `patience`, for the CPU only, the round ends as soon as a row has ended or waits for the host, because such a
    row costs as much as any other; or as `patience` says. The other rows go on in the next round.
    """
    device = decoder.device
    step = round.step.to(device)
    step = step._replace(plan=step.plan._replace(positions=step.plan.positions.clone()))
    params = SampleParams(*(column.to(device) for column in round.params))
    draw = None
    if round.draw_temperature is not None:
        draw = Draw(round.draw_temperature.to(device), params.key, params.position)
    rows, tokens, candidates = len(step.token_ids), round.tokens, round.candidates

    def room(dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.empty(tokens, rows, *shape, dtype=dtype, device=device)

    limit = round.limit.to(device)
    ended = (limit == 0).to(torch.uint8)
    state = RoundState(
        step.token_ids, step.plan.positions, step.slots, params.position, round.next_places.to(device),
        round.ends.to(device), limit, torch.zeros_like(limit), ended, torch.zeros_like(ended),
        room(torch.int32), room(torch.float32), room(torch.float32),
        room(torch.int32, candidates), room(torch.float32, candidates),
    )  # fmt: skip
    watch = None if patience is None else _Watch(patience, state)
    for done in range(1, tokens + 1):
        hidden = next_token(decoder, cache, step, state, params, draw, candidates)
        if watch is not None and watch.ends(done):
            break
    of_tokens = (state.drawn_ids, state.drawn_logits, state.lse, state.top_ids, state.top_logits)
    by_row = DrawnTokens.of(*(_host(results[:done]).swapaxes(0, 1) for results in of_tokens))
    return Drawn(hidden, _host(state.drawn), _host(state.ended | state.settled) == 0, by_row)


class _Watch:
    """Decides after each token of a round on the CPU whether the round ends."""

    def __init__(self, patience: Patience, state: RoundState) -> None:
        self._patience = patience
        self._ids, self._ended, self._settled = (
            column.numpy() for column in (state.drawn_ids, state.ended, state.settled)
        )
        self._ended_before = np.count_nonzero(self._ended)
        self._start = time.perf_counter()

    def ends(self, tokens: int) -> bool:
        """Whether the round ends after `tokens` tokens."""
        if np.count_nonzero(self._ended) > self._ended_before:
            return True
        if np.count_nonzero(self._ended | self._settled) < len(self._ended):
            return True
        seconds = time.perf_counter() - self._start
        return seconds * (tokens + 1) > self._patience.seconds * tokens or self._patience.is_over(self._ids[:tokens])


def _host(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
