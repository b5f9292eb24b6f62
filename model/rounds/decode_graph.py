"""Runs rounds by recording one token and replaying it: on a GPU, as CUDA graphs.

One token of a small model takes 250 to 300 kernels of a few microseconds each, less time than Python needs to launch
one. A CUDA graph launches all of them in one call, but always the same kernels on the same addresses. So a round is
padded to one of a few numbers of rows (*buckets*), its input is copied to fixed addresses (`RoundBuffers`), and there
is one graph for each bucket, number of rows per tile, number of candidates, and whether the LM head draws. The graph
includes the LM head and the draw, which updates the state that the next replay starts from. The results of all tokens
are copied to the host at once.

Graphs are recorded when they are first needed: which ones a search needs depends on its width, and recording all would
take seconds at every start. The largest bucket is recorded before any other. All graphs share one memory pool, in which
the memory that the largest graph has freed is enough for all others.
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
"""The numbers of rows that a round is padded to; above 16 rows, padding adds at most half."""

_WIDTHS: Final = (5, 20, 40, MAX_TOP_K)
"""Numbers of candidates that a recorded LM head may return; a requested number is rounded up. 5 are needed for token
confidence, 20 is the usual top-k, and `MAX_TOP_K` is used for top-p without top-k."""


Run = Callable[[], Tensor]
"""Decodes one token on every row of a bucket; returns the hidden states that it was drawn from, `[bucket, hidden]`."""

Record = Callable[[Run], Run]
"""Turns a run into a function that replays it. On a GPU this is `CudaGraphs`; returning the run itself also works, but
is slower."""


class _GraphKey(NamedTuple):
    """Identifies one graph of a bucket.

    Attributes:
        tile_rows: `Tiles.rows`.
        width: Number of candidates that the LM head returns.
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
        """Start without graphs; they are recorded when rounds need them.

        Args:
            decoder: A decoder whose op set reads tiles (`Kernels.tiling`) and never waits for the device.
            cache: Stores K and V.
            record: Turns a run into a function that replays it.
            most_rows: Maximum rows of a round.
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
        """Launch the recorded step (all layers, LM head and draw) once for each token of the round.

        Args:
            round: A round for which `takes` is true, with its tensors on the host.

        Returns:
            A function that waits for the results, which may have more candidates than requested; it is valid until the
            next launch. None if recording fails; this is logged once as a warning, and `takes` is false from then on.
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
        """The run to record. All rows are made padding first, so that its trial run writes nothing to the cache."""
        buffers.pad()
        step, state = buffers.step(kind.tile_rows), buffers.state(kind.width)
        draw = buffers.draw if kind.draws else None
        model = (self._decoder, self._cache)
        return lambda: next_token(*model, step, state, buffers.params, draw, kind.width)
