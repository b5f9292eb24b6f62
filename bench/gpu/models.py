"""The models that `make gpu-check` runs as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from marcot.engine import Engine
from marcot.model import locate

from ..common.shaped_checkpoint import CONFIGS
from .random_model import random_engine, write_random


class Model(NamedTuple):
    """A model by name.

    Attributes:
        name: A size in `CONFIGS` for a random model; otherwise a built-in name, a hub id or a path.
        is_random: Whether its weights are drawn at random.
    """

    name: str
    is_random: bool

    def engine(self, device: str, kv_tokens: int) -> Engine:
        """Load the model with a KV pool of `kv_tokens` tokens.

        Weights, K and V of a random model are bf16 on a GPU and fp32 on a CPU; others have `Engine.load`'s default.
        """
        if self.is_random:
            return random_engine(self.name, device, kv_tokens, torch.float32 if device == "cpu" else torch.bfloat16)
        return Engine.load(self.name, device=device, kv_tokens=kv_tokens)

    def checkpoint(self, folder: Path, device: str, layers: int | None = None) -> Path:
        """Path of the model on disk, for programs that need files.

        Args:
            folder: Folder that a random model is written to.
            device: Device that draws a random model.
            layers: Number of layers of a random model; all by default.
        """
        if self.is_random:
            return write_random(folder, CONFIGS[self.name], device, layers)
        return locate(self.name)
