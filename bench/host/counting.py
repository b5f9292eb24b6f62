"""Child process that counts the decode step of one checkout; answers `bench.common.remote.Remote`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final
from unittest import mock

import torch
from marcot.engine import Sampling
from marcot.kernels import Weight
from marcot.kernels.triton.arch import Arch
from marcot.kernels.triton.op_set import TritonKernels
from marcot.model import PAGE_SIZE, DecodeGraphs, Decoder, KVCache, ModelConfig
from marcot.model.config import RopeConfig
from torch import Tensor

from ..common.child import answer_with
from ..common.shaped_checkpoint import ShapedCheckpoint
from .canned_engine import KV_TOKENS, canned_engine
from .canned_kernels import DeviceClock
from .counted_step import META, Counts, counted

PREFIX_TOKENS, NEW_TOKENS = 512, 64
"""Tokens of the shared prefix, and of each branch at most."""

_RUN: Final = "launch" if hasattr(DecodeGraphs, "launch") else "run"
"""The method that runs a round or, in checkouts without rounds, a step."""

_H100: Final = Arch("cuda", "sm_90", 32, 132)


class Counting:
    """Counts kernels, calls and bytes per token of a recorded step or round. Its public methods are the commands."""

    def count(self, config: dict[str, Any], branches: int) -> dict[str, Any]:
        """Decode `branches` branches that continue one prompt, and count the last run that has all of them.

        Returns:
            Per token on every branch: `kernels` by name, `device_bytes`, `calls` of the host (graph launches and
            copies) and `copied_bytes`.
        """
        known = {field.name: config[field.name] for field in fields(ModelConfig)}  # older checkouts have fewer fields
        model = ModelConfig(**known | {"rope": RopeConfig(**config["rope"])})
        given, tokens, read = _last_run(model, branches)
        with counted(lambda kernel, tensor: _moved(kernel, tensor, branches, read, model)) as counts:
            kernels: Any = TritonKernels(_H100)
            decoder = Decoder(_Shapes("shapes", model), kernels, torch.bfloat16, META)
            cache = KVCache(model, KV_TOKENS // PAGE_SIZE, torch.bfloat16, META)
            record = _Record(counts)
            graphs = DecodeGraphs(decoder, cache, record, branches)
            run = getattr(graphs, _RUN)
            run(*given)  # the first run also allocates buffers, so it is not counted
            record.runs, copies, copied_bytes = 0, counts.copies, counts.copied_bytes
            run(*given)
        return {
            "kernels": record.kernels,
            "device_bytes": record.device_bytes,
            "calls": (record.runs + counts.copies - copies) / tokens,
            "copied_bytes": (counts.copied_bytes - copied_bytes) / tokens,
        }


def _last_run(config: ModelConfig, branches: int) -> tuple[tuple[Any, ...], int, int]:
    """Return the arguments of the last run of `DecodeGraphs`, the tokens it draws per row, and those its tiles read."""
    engine = canned_engine(DeviceClock(), config)
    runs: list[tuple[Any, ...]] = []
    run = getattr(DecodeGraphs, _RUN)

    def noted(graphs: DecodeGraphs, *arguments: Any) -> Any:  # noqa: ANN401
        runs.append(arguments)
        return run(graphs, *arguments)

    sampling = Sampling(max_tokens=NEW_TOKENS + 1, ignore_eos=True)
    with (
        mock.patch.object(DecodeGraphs, _RUN, noted),
        engine.prefill([1 + token % 500 for token in range(PREFIX_TOKENS)]) as node,
    ):
        for child in engine.expand(node, branches, sampling):
            child.release()
    first = runs[-1][0]
    tiles = getattr(first, "step", first).plan.tiles.tiles
    return runs[-1], getattr(first, "tokens", 1), int(tiles[:, 2].sum())


class _Record:
    """A `Record` (`model.rounds.decode_graph`) that counts what the function does, and calls it instead of a graph."""

    def __init__(self, counts: Counts) -> None:
        self.runs = 0
        self.kernels: dict[str, int] = {}
        self.device_bytes = 0
        self._counts = counts

    def __call__(self, run: Callable[[], Any]) -> Callable[[], Any]:
        counts = self._counts

        def repeat() -> Any:  # noqa: ANN401
            kernels, device_bytes = counts.kernels.copy(), counts.device_bytes
            outputs = run()
            self.runs += 1
            self.kernels = dict(counts.kernels - kernels)
            self.device_bytes = counts.device_bytes - device_bytes
            return outputs

        return repeat


_COUNTERS: Final = 1 << 20
"""An int32 tensor with at least this many elements is the counters for the largest launch; it counts as no bytes."""


_SAMPLED_ROWS: Final = 35
"""From this many rows on, two launches of the LM head's `_tiles` multiply its matrix, a part each."""


def _moved(kernel: str, tensor: Tensor, rows: int, read: int, config: ModelConfig) -> int:
    """Return the bytes of a tensor that `kernel` moves: all of them, unless it gets more than it needs.

    Of K or V pages, attention reads only the tokens of its tiles, and the others write only those of the `rows`.
    """
    if tensor.dim() >= 4 and tensor.shape[-2:] == (PAGE_SIZE, config.head_dim):
        tokens = read if kernel == "_attend" else rows
        return tokens * config.num_kv_heads * config.head_dim * tensor.itemsize
    if tensor.shape == (config.vocab_size, config.hidden_size):
        if kernel == "_merge":  # it reads a tile only if the memory for logits was too small
            return 0
        return tensor.nbytes // 2 if kernel == "_tiles" and rows >= _SAMPLED_ROWS else tensor.nbytes
    return 0 if tensor.dtype == torch.int32 and tensor.numel() >= _COUNTERS else tensor.nbytes


class _Shapes(ShapedCheckpoint):
    """A checkpoint whose weights have shapes but no values."""

    def tokenizer(self) -> None:
        """Return None: there is no text."""

    def _read(self, name: str) -> Weight:
        return torch.empty(self._shapes[name], dtype=torch.bfloat16, device=META)


def main() -> None:
    """Answer until standard input ends."""
    answer_with(Counting)
