"""Runs rounds by recording one token and replaying it: on a GPU, as CUDA graphs.

One token of a small model is 250 to 300 kernels of a few microseconds each, which is less than Python needs to launch
one. A CUDA graph launches all of them in one call, but always the same kernels on the same addresses. So a round is
padded to one of a few numbers of rows, its input is copied to a fixed place (`RoundBuffers`), and there is one graph
for each such *bucket* and each way to cut attention and to draw. The graph includes the LM head and the draw, which
updates the state that the next replay starts from. The results of all tokens come to the host in one copy.

Graphs are recorded when they are first needed: which ones a search needs depends on its width, and recording all would
cost seconds at every start. Only the largest bucket is recorded before any other. All graphs share one memory pool, in
which the memory that a large graph has freed is enough for all that follow.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from ...kernels import MAX_TOP_K, Tiles
from ..decoder import Decoder
from ..kv_cache import KVCache
from .round import Drawn, Round, next_token
from .round_buffers import Capacity, RoundBuffers

_LOGGER = logging.getLogger(__name__)

BUCKETS: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""The numbers of rows that a round may be padded to; above 16 rows, padding adds at most half."""

_WIDTHS: Final = (5, 20, 40, MAX_TOP_K)
"""Candidates that a recorded LM head keeps; what is asked for is rounded up. 5 are what every token's confidence takes,
20 is the usual top-k, and `MAX_TOP_K` is what a nucleus asks for."""


Run = Callable[[], Tensor]
"""Runs one token on every row of a bucket; returns the hidden states it drew from, `[bucket, hidden]`."""

Record = Callable[[Run], Run]
"""Turns a run into one that replays it. On a GPU this is `CudaGraphs`; returning the run itself works too, but
slower."""


class _GraphKey(NamedTuple):
    """Identifies one graph of a bucket.

    Attributes:
        tile_rows: `Tiles.rows`.
        width: Candidates of the LM head.
        draws: Whether the LM head draws.
    """

    tile_rows: int
    width: int
    draws: bool


class DecodeGraphs:
    """Runs rounds of one decoder on one cache by replaying recorded tokens.

    Attributes:
        works: False as soon as a recording has failed.
    """

    def __init__(self, decoder: Decoder, cache: KVCache, record: Record, most_rows: int = BUCKETS[-1]) -> None:
        """Record with `record` as rounds need it.

        Args:
            decoder: A decoder whose op set reads tiles (`Kernels.tiling`) and never waits for the device.
            cache: Where K and V go.
            record: Turns a run into one that replays it.
            most_rows: Rows of the largest round.
        """
        self._decoder = decoder
        self._cache = cache
        self._record = record
        self._buckets = BUCKETS[: bisect_left(BUCKETS, most_rows) + 1]
        self._buffers: dict[int, RoundBuffers] = {}
        self._runs: dict[int, dict[_GraphKey, Run]] = {}
        self.works = True

    def takes(self, round: Round) -> bool:
        """Whether `launch` can run `round`: it is not too large, it has tiles, and recording works."""
        step = round.step
        return self.works and step.plan.tiles is not None and len(step.token_ids) <= self._buckets[-1]

    @torch.inference_mode()
    def launch(self, round: Round) -> Callable[[], Drawn] | None:
        """Begin all layers, the LM head and the draw, once for each token of the round.

        Args:
            round: Its tensors are on the host; `takes` has agreed to it.

        Returns:
            What waits for the results, of perhaps more candidates than were asked for; only the last launch has any.
            None where recording fails, which is logged once as a warning: then `takes` agrees to nothing.
        """
        tiles, rows = round.step.plan.tiles, len(round.step.token_ids)
        assert tiles is not None
        kind = _GraphKey(tiles.rows, self._width(round.candidates), round.draw_temperature is not None)
        bucket = self._buckets[bisect_left(self._buckets, rows)]
        buffers = self._with_room(bucket, tiles)
        try:
            repeat = self._recorded(bucket, kind)
        except RuntimeError as error:
            self.works = False
            _LOGGER.warning("decoding without CUDA graphs: %s", error)
            return None
        buffers.fill(round, tiles)
        for _ in range(round.tokens):
            hidden = repeat()
        return buffers.fetch(kind.width, round.tokens, rows, hidden)

    def _width(self, k: int) -> int:
        """`k` rounded up, so that few graphs serve any mixture of widths."""
        return min(_WIDTHS[bisect_left(_WIDTHS, k)], self._decoder.head.out_features)

    def _with_room(self, bucket: int, tiles: Tiles) -> RoundBuffers:
        """The bucket's buffers. If `tiles` do not fit, new ones are made and the bucket's graphs are dropped."""
        had = self._buffers.get(bucket)
        capacity = (had.capacity if had else Capacity.least(bucket)).grown(tiles)
        if had is None or had.capacity != capacity:
            self._runs[bucket] = {}
            self._buffers[bucket] = RoundBuffers(capacity, self._decoder.device)
        return self._buffers[bucket]

    def _recorded(self, bucket: int, kind: _GraphKey) -> Run:
        """The graph of `kind` for `bucket`, recorded on first use (and after that of the largest bucket)."""
        largest = self._buckets[-1]
        if bucket != largest and not self._runs.get(largest):
            self._runs.setdefault(largest, {})
            self._buffers.setdefault(largest, RoundBuffers(Capacity.least(largest), self._decoder.device))
            self._recorded(largest, kind)
        runs = self._runs[bucket]
        if kind not in runs:
            runs[kind] = self._record(self._one_token(self._buffers[bucket], kind))
        return runs[kind]

    def _one_token(self, buffers: RoundBuffers, kind: _GraphKey) -> Run:
        """The run to record. It runs once before, with all rows as padding, so that it writes nothing."""
        buffers.pad()
        step, state = buffers.step(kind.tile_rows), buffers.state(kind.width)
        draw = buffers.draw if kind.draws else None
        model = (self._decoder, self._cache)
        return lambda: next_token(*model, step, state, buffers.params, draw, kind.width)
