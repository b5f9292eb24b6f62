"""Models with the shapes of real ones and random weights, which are drawn directly on the device.

Computing with random weights takes as long as with trained ones, and nothing needs to be downloaded.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from marcot.engine import Engine
from marcot.kernels import Weight, select
from marcot.model import Decoder, ModelConfig, Tokenizer
from torch import Tensor

from ..common.shaped_checkpoint import CONFIGS, ShapedCheckpoint
from .words import word_tokenizer


class RandomCheckpoint(ShapedCheckpoint):
    """A checkpoint whose weights are drawn on access, with fixed seeds."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> None:
        """Create a checkpoint with the shapes of `config`, whose weights have `dtype` and are drawn on `device`."""
        super().__init__("random", config)
        self._device = device
        self._dtype = dtype

    @property
    def parameters(self) -> list[str]:
        """Names of all tensors."""
        return list(self._shapes)

    def tokenizer(self) -> Tokenizer:
        """A tokenizer in which every token is a word."""
        return word_tokenizer(self.config.vocab_size)

    def _read(self, name: str) -> Weight:
        return self.drawn(name)

    def drawn(self, name: str) -> Tensor:
        """Draw the parameter with this Hugging Face name."""
        shape = self._shapes[name]
        if name.endswith("norm.weight"):
            return torch.ones(shape, dtype=self._dtype, device=self._device)
        generator = torch.Generator(self._device).manual_seed(self.parameters.index(name))
        weight = torch.empty(shape, dtype=self._dtype, device=self._device)
        return weight.normal_(std=shape[-1] ** -0.5, generator=generator)  # outputs are as large as inputs


def random_engine(name: str, device: str, kv_tokens: int, dtype: torch.dtype = torch.bfloat16) -> Engine:
    """Create an engine with random weights for the model `name` of `CONFIGS`.

    Args:
        name: `"0.5b"`, `"1.5b"` or `"7b"`.
        device: `"cuda"` or `"cpu"`.
        kv_tokens: Size of the KV pool in tokens.
        dtype: Dtype of weights, activations, K and V.
    """
    place = torch.device(device)
    checkpoint = RandomCheckpoint(CONFIGS[name], place, dtype)
    decoder = Decoder(checkpoint, select(place, dtype), dtype, place)
    return Engine(decoder, checkpoint.tokenizer(), kv_tokens)


def write_random(folder: Path, config: ModelConfig, device: str, layers: int | None = None) -> Path:
    """Write a random model as a Hugging Face folder in bf16, without a tokenizer; returns `folder`.

    Args:
        folder: Folder to create.
        config: Shape of the model.
        device: Device that draws the weights.
        layers: Number of layers to write; all by default.
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
