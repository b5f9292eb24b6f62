"""The base class of checkpoints on disk."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from ..kernels import BlockTensor, Weight
from .config import ModelConfig
from .errors import CheckpointError
from .parameters import parameter_shapes
from .tokenizer import Tokenizer

FLOAT_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

_SAMPLE_BYTES = 4096
"""Bytes of a sample (a memory page). The fingerprint includes a first, a middle and a last sample of each tensor."""


class Checkpoint(ABC):
    """Weights by name, checked against the config and read on demand.

    Where the format allows it, tensors are views of memory-mapped files: they cost no memory until they are touched,
    and stay valid after `close`. Nothing in a checkpoint is ever executed.

    Attributes:
        path: The folder or file.
        config: Shape and constants.
    """

    path: Path
    config: ModelConfig

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self.path = path
        self.config = config
        self._shapes = parameter_shapes(config)

    @abstractmethod
    def tokenizer(self) -> Tokenizer | None:
        """Build the tokenizer, or return None when the checkpoint has none.

        Raises:
            TokenizerError: Its files are damaged or of an unknown kind.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether a tensor with this Hugging Face name is stored."""

    @property
    @abstractmethod
    def quantised(self) -> bool:
        """Whether any matrix is stored in quantised blocks."""

    @abstractmethod
    def _described(self) -> Iterator[bytes | memoryview]:
        """Everything that results depend on except the tensors: headers, config, tokenizer and chat template."""

    @abstractmethod
    def _read(self, name: str) -> Weight:
        """Return the stored tensor `name`, unchecked."""

    @abstractmethod
    def _file_of(self, name: str) -> Path:
        """The file that has, or should have, the tensor `name`."""

    @abstractmethod
    def close(self) -> None:
        """Close the files; `tensor` must not be called afterwards."""

    def fingerprint(self) -> str:
        """32 hexadecimal digits that identify the checkpoint by its content, wherever it is stored.

        They are a hash of its headers, config, tokenizer and chat template, and of samples of every tensor. It does not
        read all bytes: a billion parameters take milliseconds.

        Raises:
            CheckpointError: A tensor cannot be read.
        """
        digest = hashlib.sha256()
        for part in self._described():
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        for name in sorted(filter(self.has, self._shapes)):
            weight = self._read(name)
            stored = weight.data if isinstance(weight, BlockTensor) else weight
            content = stored.reshape(-1).view(torch.uint8).numpy()
            last = max(0, len(content) - _SAMPLE_BYTES)
            for begin in sorted({0, last // 2, last}):
                digest.update(content[begin : begin + _SAMPLE_BYTES].tobytes())
        return digest.hexdigest()[:32]

    def tensor(self, name: str) -> Weight:
        """Return a parameter by its Hugging Face name, such as `"model.layers.0.self_attn.q_proj.weight"`.

        Returns:
            A dense fp32, fp16 or bf16 tensor, or a `BlockTensor`, of the shape that the config implies.

        Raises:
            CheckpointError: The tensor is not part of this model, missing, truncated or of another shape or dtype.
        """
        expected = self._shapes.get(name)
        if expected is None:
            raise CheckpointError(f"{self.path}: a model with this config has no parameter {name}")
        if not self.has(name):
            raise CheckpointError(f"{self._file_of(name)}: tensor {name} is missing")
        weight = self._read(name)
        if tuple(weight.shape) != expected:
            found, wanted = list(weight.shape), list(expected)
            raise CheckpointError(
                f"{self._file_of(name)}: tensor {name} has shape {found}, but the config requires {wanted}"
            )
        if isinstance(weight, torch.Tensor) and weight.dtype not in FLOAT_DTYPES:
            raise CheckpointError(
                f"{self._file_of(name)}: tensor {name} is stored as {str(weight.dtype).removeprefix('torch.')}; "
                "only float32, float16 and bfloat16 are supported"
            )
        return weight

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
