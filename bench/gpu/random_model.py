"""Models in the shapes of real ones with random weights, made on the device in the time that it takes to fill it.

What an engine computes takes as long with random weights as with trained ones, and nothing has to be downloaded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from marcot.engine import Engine
from marcot.kernels import Weight, select
from marcot.model import Checkpoint, Decoder, ModelConfig, RopeConfig, Tokenizer
from torch import Tensor

from .words import word_tokenizer


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

    @property
    def parameters(self) -> list[str]:
        """Names of all tensors."""
        return list(self._shapes)

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
        return self.drawn(name)

    def drawn(self, name: str) -> Tensor:
        """A parameter by its Hugging Face name."""
        shape = self._shapes[name]
        if name.endswith("norm.weight"):
            return torch.ones(shape, dtype=self._dtype, device=self._device)
        generator = torch.Generator(self._device).manual_seed(self.parameters.index(name))
        weight = torch.empty(shape, dtype=self._dtype, device=self._device)
        return weight.normal_(std=shape[-1] ** -0.5, generator=generator)  # outputs are as large as inputs

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


def write_random(folder: Path, config: ModelConfig, device: str, layers: int | None = None) -> Path:
    """Write a random model as a Hugging Face folder in bf16, without a tokenizer; returns `folder`.

    Args:
        folder: Where to.
        config: Its shape.
        device: What draws it.
        layers: Its first layers only; all by default.
    """
    from safetensors.torch import save_file

    config = dataclasses.replace(config, num_layers=layers or config.num_layers)
    checkpoint = RandomCheckpoint(config, torch.device(device))
    fields = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope.theta,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tied_embeddings,
        "torch_dtype": "bfloat16",
        "eos_token_id": 0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields))
    save_file({name: checkpoint.drawn(name).cpu() for name in checkpoint.parameters}, folder / "model.safetensors")
    return folder
