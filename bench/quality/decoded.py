"""A checkpoint with dense matrices: quantised blocks are decoded, so that they can be quantised again differently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from marcot.kernels import BlockTensor, Weight
from marcot.model import Checkpoint, Tokenizer


class Decoded(Checkpoint):
    """The checkpoint `inner`, with every quantised tensor decoded to fp32 when it is read."""

    def __init__(self, inner: Checkpoint) -> None:
        super().__init__(inner.path, inner.config)
        self._inner = inner

    def tokenizer(self) -> Tokenizer | None:
        """Return the tokenizer of `inner`."""
        return self._inner.tokenizer()

    def has(self, name: str) -> bool:
        """Whether `inner` has the tensor."""
        return self._inner.has(name)

    @property
    def quantised(self) -> bool:
        """False: every block is decoded."""
        return False

    def close(self) -> None:
        """Close `inner`."""
        self._inner.close()

    def _described(self) -> Iterator[bytes | memoryview]:
        yield self._inner.fingerprint().encode()

    def _read(self, name: str) -> Weight:
        weight = self._inner.tensor(name)
        return weight.dequantize() if isinstance(weight, BlockTensor) else weight

    def _file_of(self, name: str) -> Path:
        return self._inner.path
