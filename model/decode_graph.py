"""Decode steps that were recorded once and are run again: on a GPU as CUDA graphs.

A decode step of a small model is 250 to 300 kernels of a few microseconds each, which is less than Python takes to
launch one. A CUDA graph launches all of them in one call, but always the same kernels on the same addresses. So a step
is padded to the next of a few numbers of rows, its input is copied to a fixed place (`StepBuffers`), and there is one
graph for each such *bucket* and each way to cut attention and to draw. The LM head is part of it, and its results come
to the host in one copy.

Graphs are recorded when they are first needed: which of them a search needs depends on its width, and recording all
would cost seconds at every start. Only the largest bucket is recorded before the first other one. All graphs take their
memory from one pool, and what a large one has freed is large enough for all that follow.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from ..kernels import MAX_TOP_K, Draw, HeadTopK, Tiles
from .decoder import Decoder, Step
from .kv_cache import KVCache
from .step_buffers import Capacity, StepBuffers

BUCKETS: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Rows that a step may be padded to: above 16 never by more than half of what it has."""

_WIDTHS: Final = (5, 20, 40, MAX_TOP_K)
"""Candidates that a recorded LM head keeps; a wish is rounded up. 5 are what every token's confidence takes, 20 is the
usual top-k, and `MAX_TOP_K` is what a nucleus asks for."""


class Decoded(NamedTuple):
    """What a decode step gives.

    Attributes:
        hidden: `[rows, hidden]` on the device, the states behind the LM head's results; only until the next step.
        head: The LM head's results on the host.
    """

    hidden: Tensor
    head: HeadTopK


class Outputs(NamedTuple):
    """What a recorded step leaves at fixed addresses.

    Attributes:
        hidden: `[bucket, hidden]`.
        results: Bytes of the results of the LM head, one after the other.
    """

    hidden: Tensor
    results: Tensor


Run = Callable[[], Outputs]
Record = Callable[[Run], Run]
"""Makes of a run one that repeats it. On a GPU that is `CudaGraphs`; a run itself does as well, only more slowly."""


class _Kind(NamedTuple):
    """Which graph of a bucket.

    Attributes:
        tile_rows: `Tiles.rows`.
        width: Candidates of the LM head.
        draws: Whether the LM head draws.
    """

    tile_rows: int
    width: int
    draws: bool


class DecodeGraphs:
    """Runs decode steps of one decoder on one cache by repeating recorded ones.

    Attributes:
        works: False as soon as a step could not be recorded.
    """

    def __init__(self, decoder: Decoder, cache: KVCache, record: Record, most_rows: int = BUCKETS[-1]) -> None:
        """Record with `record`, when steps come.

        Args:
            decoder: Its op set takes plans in tiles (`Kernels.tiling`) and never waits for the device.
            cache: Where K and V go.
            record: Makes a run repeatable.
            most_rows: The largest step that will come.
        """
        self._decoder = decoder
        self._cache = cache
        self._record = record
        self._buckets = BUCKETS[: bisect_left(BUCKETS, most_rows) + 1]
        self._buffers: dict[int, StepBuffers] = {}
        self._runs: dict[int, dict[_Kind, Run]] = {}
        self.works = True

    def takes(self, step: Step) -> bool:
        """Whether `run` can be asked for `step`: it is not too large, it has tiles, and recording works."""
        return self.works and step.plan.tiles is not None and len(step.token_ids) <= self._buckets[-1]

    @torch.inference_mode()
    def run(self, step: Step, draw: Draw | None, k: int) -> Decoded | None:
        """One token on every row: all layers, the LM head and the draw.

        Args:
            step: Its tensors are on the host; `takes` has agreed to it; every row is wanted.
            draw: See `Kernels.lm_head_topk`; on the host.
            k: Candidates; `Decoded.head` may have more.

        Returns:
            The results, or None where recording fails, which is said once on stderr: then `takes` agrees to nothing.
        """
        tiles, rows = step.plan.tiles, len(step.token_ids)
        assert tiles is not None
        kind = _Kind(tiles.rows, self._width(k), draw is not None)
        bucket = self._buckets[bisect_left(self._buckets, rows)]
        buffers = self._with_room(bucket, tiles)
        buffers.fill(step, tiles, draw)
        try:
            repeat = self._recorded(bucket, kind)
        except RuntimeError as error:
            self.works = False
            print(f"decoding without CUDA graphs: {error}", file=sys.stderr, flush=True)
            return None
        outputs = repeat()
        head = _unpacked(outputs.results.to("cpu", copy=True), bucket, kind)
        return Decoded(outputs.hidden[:rows], head.select(slice(rows)))

    def _width(self, k: int) -> int:
        """`k` rounded up, so that few graphs serve any mixture of wishes."""
        return min(_WIDTHS[bisect_left(_WIDTHS, k)], self._decoder.head.out_features)

    def _with_room(self, bucket: int, tiles: Tiles) -> StepBuffers:
        """The bucket's buffers. Where `tiles` do not fit, they are made anew and its graphs are forgotten."""
        had = self._buffers.get(bucket)
        capacity = (had.capacity if had else Capacity.least(bucket)).grown(tiles)
        if had is None or had.capacity != capacity:
            self._runs[bucket] = {}
            self._buffers[bucket] = StepBuffers(capacity, self._decoder.device)
        return self._buffers[bucket]

    def _recorded(self, bucket: int, kind: _Kind) -> Run:
        """The graph of `kind` for `bucket`; recorded if it is the first time, after that of the largest bucket."""
        largest = self._buckets[-1]
        if bucket != largest and not self._runs.get(largest):
            self._runs.setdefault(largest, {})
            self._buffers.setdefault(largest, StepBuffers(Capacity.least(largest), self._decoder.device))
            self._recorded(largest, kind)
        runs = self._runs[bucket]
        if kind not in runs:
            step, draw = self._buffers[bucket].step(kind.tile_rows), self._buffers[bucket].draw
            runs[kind] = self._record(lambda: self._decode(step, draw if kind.draws else None, kind.width))
        return runs[kind]

    def _decode(self, step: Step, draw: Draw | None, width: int) -> Outputs:
        hidden = self._decoder.forward(step, self._cache)
        hidden = hidden.masked_fill(step.slots[:, None] < 0, 0)  # padded rows may be NaN, which has no top-k
        head = self._decoder.kernels.lm_head_topk(hidden, self._decoder.head, width, draw=draw)
        return Outputs(hidden, _packed(head))


def _packed(head: HeadTopK) -> Tensor:
    """The results of the LM head as bytes, the wider numbers first, so that one copy brings all of them to the host."""
    drawn = (head.drawn_ids, head.top_logits, head.lse, head.drawn_logits, head.scaled_lse)
    kept = [part.contiguous().view(torch.uint8).flatten() for part in (head.top_ids, *drawn) if part is not None]
    return torch.cat(kept)


def _unpacked(results: Tensor, rows: int, kind: _Kind) -> HeadTopK:
    """`_packed` undone; the results are views."""
    taken = 0

    def part(dtype: torch.dtype, *shape: int) -> Tensor:
        nonlocal taken
        begin, taken = taken, taken + math.prod((rows, *shape)) * dtype.itemsize
        return results[begin:taken].view(dtype).view(rows, *shape)

    top_ids = part(torch.int64, kind.width)
    drawn_ids = part(torch.int64) if kind.draws else None
    top_logits, lse = part(torch.float32, kind.width), part(torch.float32)
    drawn_logits, scaled_lse = (part(torch.float32), part(torch.float32)) if kind.draws else (None, None)
    return HeadTopK(top_ids, top_logits, lse, None, drawn_ids, drawn_logits, scaled_lse)
