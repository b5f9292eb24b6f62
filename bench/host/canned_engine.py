"""An engine on canned kernels whose decode steps take the code path for GPUs, with recorded graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from marcot.engine import Engine
from marcot.kernels import Weight
from marcot.model import DecodeGraphs, Decoder, ModelConfig, Tokenizer

from ..common.shaped_checkpoint import CONFIGS, ShapedCheckpoint
from .canned_kernels import CannedKernels, DeviceClock
from .canned_text import END, chain, text_tokenizer

KV_TOKENS = 262_144
"""KV capacity: hundreds of branches of a few hundred tokens."""


class CannedCheckpoint(ShapedCheckpoint):
    """A model of one layer, whose weights are never used, with the vocabulary of `canned_text`."""

    def __init__(self, heads_of: ModelConfig) -> None:
        """Use the attention heads of `heads_of`."""
        config = replace(
            heads_of, vocab_size=len(chain().lse), hidden_size=8, intermediate_size=8, num_layers=1,
            tied_embeddings=True, eos_token_ids=(END,),
        )  # fmt: skip
        super().__init__("canned", config)

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of `canned_text`."""
        return text_tokenizer()

    def _read(self, name: str) -> Weight:
        return torch.zeros(1).expand(self._shapes[name])


def canned_engine(clock: DeviceClock, heads_of: ModelConfig = CONFIGS["0.5b"], kv_tokens: int = KV_TOKENS) -> Engine:
    """Return an engine in which `clock` times the work of the device; plans are made for the heads of `heads_of`."""
    checkpoint = CannedCheckpoint(heads_of)
    decoder = Decoder(checkpoint, CannedKernels(clock), torch.float32, torch.device("cpu"))
    decoder.forward = clock.timed(decoder.forward)  # type: ignore[method-assign]
    engine_module: Any = __import__("marcot.engine.engine", fromlist=["decode_graphs"])

    def graphs(decoder: Decoder, cache: Any, most_rows: int, *more: Any) -> DecodeGraphs:  # noqa: ANN401
        # Instead of a recorded graph, the function is called again.
        return DecodeGraphs(decoder, cache, clock.timed, most_rows, *more)

    made, engine_module.decode_graphs = engine_module.decode_graphs, graphs
    try:
        return Engine(decoder, checkpoint.tokenizer(), kv_tokens)
    finally:
        engine_module.decode_graphs = made
