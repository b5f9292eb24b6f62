"""Models in the shapes of real ones with random weights, made on the device in the time that it takes to fill it.

What an engine computes takes as long with random weights as with trained ones, and nothing has to be downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from marcot.engine import Engine
from marcot.kernels import Weight, select
from marcot.model import Checkpoint, Decoder, ModelConfig, RopeConfig, Tokenizer

from .words import word_tokenizer

_SPREAD = 0.02
"""Standard deviation of the weights, as models are initialised."""


def _qwen2(hidden: int, width: int, layers: int, heads: int, kv_heads: int, vocab: int, tied: bool) -> ModelConfig:
    return ModelConfig(
        architecture="qwen2",
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=hidden // heads,
        rms_norm_eps=1e-6,
        rope=RopeConfig(1e6),
        max_positions=32_768,
        tied_embeddings=tied,
        qkv_bias=True,
        eos_token_ids=(),
        bos_token_id=None,
    )


RANDOM_MODELS: Final[Mapping[str, ModelConfig]] = {
    "0.5b": _qwen2(896, 4864, 24, 14, 2, 151_936, tied=True),
    "1.5b": _qwen2(1536, 8960, 28, 12, 2, 151_936, tied=True),
    "7b": _qwen2(3584, 18_944, 28, 28, 4, 152_064, tied=False),
}
"""Qwen2.5's sizes. Nothing ends a generation but its length, as a random model would end at random."""


class RandomCheckpoint(Checkpoint):
    """Weights that are drawn when they are asked for, the same ones every time."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        """Draw weights of `dtype` on `device`."""
        super().__init__(Path("random"), config)
        self._device = device
        self._dtype = dtype

    def tokenizer(self) -> Tokenizer:
        """One with a word for every token."""
        return word_tokenizer(self.config.vocab_size)

    def has(self, name: str) -> bool:
        """True for every parameter of the config."""
        return name in self._shapes

    @property
    def quantised(self) -> bool:
        """False."""
        return False

    def _described(self) -> Iterator[bytes | memoryview]:
        yield repr(self.config).encode()

    def _read(self, name: str) -> Weight:
        shape = self._shapes[name]
        if name.endswith("norm.weight"):
            return torch.ones(shape, dtype=self._dtype, device=self._device)
        generator = torch.Generator(self._device).manual_seed(list(self._shapes).index(name))
        weight = torch.empty(shape, dtype=self._dtype, device=self._device)
        return weight.normal_(std=_SPREAD, generator=generator)

    def _file_of(self, name: str) -> Path:
        return self.path

    def close(self) -> None:
        """Do nothing: there is no file."""


def random_engine(name: str, device: str, kv_tokens: int, dtype: torch.dtype = torch.bfloat16) -> Engine:
    """An engine on the model `name` of `RANDOM_MODELS`.

    Args:
        name: `"0.5b"`, `"1.5b"` or `"7b"`.
        device: `"cuda"` or `"cpu"`.
        kv_tokens: Size of the KV pool in tokens.
        dtype: Of weights, activations, K and V.
    """
    place = torch.device(device)
    checkpoint = RandomCheckpoint(RANDOM_MODELS[name], place, dtype)
    decoder = Decoder(checkpoint, select(place, dtype), dtype, place)
    return Engine(decoder, checkpoint.tokenizer(), kv_tokens)
