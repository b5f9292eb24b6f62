"""Checkpoints with the shapes of real models, but without a file; subclasses make up the values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from marcot.model import Checkpoint, ModelConfig
from marcot.model.config import RopeConfig


def qwen2_config(
    hidden: int, width: int, layers: int, heads: int, kv_heads: int, vocab: int, tied: bool
) -> ModelConfig:
    """Return the config of a Qwen2 model of these sizes, without end-of-sequence tokens."""
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


CONFIGS: Final[Mapping[str, ModelConfig]] = {
    "0.5b": qwen2_config(896, 4864, 24, 14, 2, 151_936, tied=True),
    "1.5b": qwen2_config(1536, 8960, 28, 12, 2, 151_936, tied=True),
    "7b": qwen2_config(3584, 18_944, 28, 28, 4, 152_064, tied=False),
}
"""Sizes of Qwen2.5 models. Only the length ends a generation: with random weights, it would otherwise end at random."""


class ShapedCheckpoint(Checkpoint):
    """All parameters of a config; the subclass's `_read` makes up their values."""

    def __init__(self, name: str, config: ModelConfig) -> None:
        """Use `name` in messages."""
        super().__init__(Path(name), config)

    def has(self, name: str) -> bool:
        """True for every parameter of the config."""
        return name in self._shapes

    @property
    def quantised(self) -> bool:
        """False."""
        return False

    def close(self) -> None:
        """Do nothing: there is no file."""

    def _described(self) -> Iterator[bytes | memoryview]:
        yield repr(self.config).encode()

    def _file_of(self, name: str) -> Path:
        return self.path
