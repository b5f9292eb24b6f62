"""An op set that looks up its results in a table, so that the device costs almost no time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from marcot.kernels import Draw, HeadTopK, PackedLinear, Tiling, Weight, select
from torch import Tensor

from .canned_text import Chain, chain

P = ParamSpec("P")
R = TypeVar("R")


class DeviceClock:
    """Measures processor time that stands for work of the device, to be subtracted from the host's.

    Attributes:
        seconds: Seconds measured so far.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds = 0.0
        self._running = False

    def timed(self, call: Callable[P, R]) -> Callable[P, R]:
        """Wrap `call` so that its time counts as work of the device. Nested calls are not counted twice."""

        @wraps(call)
        def timed(*arguments: P.args, **options: P.kwargs) -> R:
            if self._running:
                return call(*arguments, **options)
            self._running = True
            started = time.process_time()
            try:
                return call(*arguments, **options)
            finally:
                self.seconds += time.process_time() - started
                self._running = False

        return timed


class CannedLinear(NamedTuple):
    """A weight without values: only a shape."""

    out_features: int
    in_features: int
    nbytes: int = 0


class CannedKernels:
    """Kernels that look up the next token. A row of hidden states holds its token id as the first value, then zeros.

    Ops that are not defined here are those of the CPU op set, which work on the results of the ones below.
    """

    name = "canned"
    keys_by_dim = False
    fast_is_faster = False
    deterministic = False
    fp8_dtype = None

    def __init__(self, clock: DeviceClock) -> None:
        """Time all ops with `clock`."""
        self._clock = clock
        self._others = select(torch.device("cpu"))
        self._chain: Chain = chain()
        for op in ("linear", "embed", "rms_norm", "lm_head_topk"):
            setattr(self, op, clock.timed(getattr(self, op)))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the op set of the checkout has)
        """Return an op of the CPU op set, timed."""
        found = getattr(self._others, name)
        return self._clock.timed(found) if callable(found) else found

    def tiling(self, heads: int, kv_heads: int) -> Tiling:
        """Return the tiling of the Triton kernels on an H100 or H200, for groups of 7 query heads."""
        assert heads == 7 * kv_heads
        return Tiling((2, 4, 9, 18), 2 * 132 // kv_heads)

    def pack_linear(self, parts: Sequence[Weight], *_: object) -> CannedLinear:
        """Keep only the shape."""
        return CannedLinear(sum(part.shape[0] for part in parts), parts[0].shape[1])

    def fuse(self, *_: object) -> Callable[..., tuple[Tensor, Tensor]]:
        """Return layers that change nothing."""

        def layers(x: Tensor, *_: object) -> tuple[Tensor, Tensor]:
            return x, x

        return layers

    def linear(self, x: Tensor, weight: PackedLinear) -> Tensor:
        """Return all logits; no other product is ever requested."""
        ids, logits, _ = self._rows(x)
        return x.new_full((len(x), weight.out_features), -1e4).scatter_(1, ids, logits)

    def embed(self, ids: Tensor, weight: PackedLinear) -> Tensor:
        """Store the token ids in the first column."""
        x = torch.zeros(len(ids), weight.in_features)
        x[:, 0] = ids
        return x

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the input unchanged."""
        return x, x

    def lm_head_topk(
        self, hidden: Tensor, weight: PackedLinear, k: int, targets: Tensor | None = None, draw: Draw | None = None
    ) -> HeadTopK:
        """Look up the tokens that may follow; a draw picks one of them by its key and position."""
        ids, logits, lse = self._rows(hidden)
        if draw is None:
            return HeadTopK(ids[:, :k], logits[:, :k], lse, None, None, None, None)
        column = ((draw.key ^ draw.position * 0x9E3779B1) % k)[:, None]
        drawn = (ids.gather(1, column)[:, 0], logits.gather(1, column)[:, 0])
        return HeadTopK(ids[:, :k], logits[:, :k], lse, None, *drawn, lse)

    def _rows(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens = hidden[:, 0].long().clamp(0, len(self._chain.lse) - 1)
        return Chain(*(part[tokens] for part in self._chain))
