"""A GGUF file: weights in blocks, config and tokenizer in one memory-mapped file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...kernels import BlockTensor, Weight
from ..checkpoint import Checkpoint
from ..errors import CheckpointError, UnsupportedConfigError
from ..files.plain_file import open_plain, refuse_cut
from ..parameters import EMBEDDING, FINAL_NORM, LM_HEAD
from ..tokenizer import Tokenizer
from .config import config_from_gguf, gguf_architecture
from .header import GgufHeader, TensorInfo, read_header
from .tokenizer import tokenizer_from_gguf

_DENSE_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_OTHER_ELEMENTS = {"F64", "I8", "I16", "I32", "I64"}

_GLOBAL_NAMES = {"token_embd.weight": EMBEDDING, "output_norm.weight": FINAL_NORM, "output.weight": LM_HEAD}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ROPE_FREQS = "rope_freqs.weight"


class GgufFile(Checkpoint):
    """Weights in whatever block formats the file uses; matrices stay as blocks."""

    def __init__(self, path: Path) -> None:
        """Open the file `path` and check its header.

        Raises:
            CheckpointError: The file is truncated or broken, or the `gguf` package is missing.
            UnsupportedConfigError: It needs something this engine does not implement.
        """
        try:
            with open_plain(path) as opened:
                # Copy-on-write: torch needs a writable buffer, and nothing ever reaches the file.
                self._data = np.memmap(opened, dtype=np.uint8, mode="c")
                self._opened = os.fstat(opened.fileno())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be mapped: {error}") from error
        self._header = read_header(path, self._data)
        # Checked first: otherwise the error would be about unknown tensors of an unsupported architecture.
        self._interleaves = gguf_architecture(self._header, str(path)).gguf_interleaves
        self._infos = _by_hugging_face_name(self._header, path)
        super().__init__(path, config_from_gguf(self._header, self._frequency_factors(path), str(path)))
        unknown = self._infos.keys() - self._shapes.keys()
        if unknown:
            name = self._infos[min(unknown)].name
            raise UnsupportedConfigError(f"{path}: tensor {name} is not part of a {self.config.architecture} model")

    def tokenizer(self) -> Tokenizer | None:
        """Build the tokenizer from the metadata; None when there is none."""
        return tokenizer_from_gguf(self._header.metadata, str(self.path))

    def has(self, name: str) -> bool:
        """Whether a tensor with this Hugging Face name is stored."""
        return name in self._infos

    @property
    def quantised(self) -> bool:
        """Whether any matrix is stored in quantised blocks."""
        return any(info.format not in _DENSE_DTYPES for info in self._infos.values())

    def tensor(self, name: str) -> Weight:
        """Return a parameter as `Checkpoint.tensor` does; rows of Q and K are always in Hugging Face's order."""
        weight = super().tensor(name)
        if not self._interleaves or not name.endswith(("q_proj.weight", "k_proj.weight")):
            return weight
        order = _rope_row_order(weight.shape[0], self.config.head_dim)
        if isinstance(weight, BlockTensor):
            return BlockTensor(weight.data[order], weight.format, weight.columns)
        return weight[order]

    def close(self) -> None:
        """Close the file; tensors that were read stay valid."""
        del self._data

    def _file_of(self, name: str) -> Path:
        return self.path

    def _described(self) -> Iterator[bytes | memoryview]:
        refuse_cut(self.path, self._opened)
        yield self._data.data[: min((info.offset for info in self._header.tensors.values()), default=None)]
        if factors := self._header.tensors.get(_ROPE_FREQS):  # part of the config, not a parameter
            yield self._data.data[factors.offset :][: factors.nbytes]

    def _read(self, name: str) -> Weight:
        refuse_cut(self.path, self._opened)
        info = self._infos[name]
        if info.format in _OTHER_ELEMENTS:
            raise CheckpointError(
                f"{self.path}: tensor {info.name} is stored as {info.format}, which is not a weight format"
            )
        raw = torch.from_numpy(self._data[info.offset : info.offset + info.nbytes])
        if info.format in _DENSE_DTYPES:
            return raw.view(_DENSE_DTYPES[info.format]).reshape(info.shape)
        if len(info.shape) != 2:
            raise CheckpointError(
                f"{self.path}: tensor {info.name} of shape {list(info.shape)} is in {info.format} blocks"
            )
        return BlockTensor(raw.reshape(info.shape[0], -1), info.format, info.shape[1])

    def _frequency_factors(self, path: Path) -> tuple[float, ...]:
        """The divisors of llama3 scaling, of which llama.cpp's converter stores one per frequency."""
        info = self._header.tensors.get(_ROPE_FREQS)
        if info is None:
            return ()
        if info.format != "F32" or len(info.shape) != 1:
            raise UnsupportedConfigError(f"{path}: tensor {_ROPE_FREQS} must be one row of F32")
        factors: np.ndarray[tuple[int], np.dtype[np.float32]] = self._data[info.offset :][: info.nbytes].view(
            np.float32
        )
        return tuple(factors.tolist())


def _by_hugging_face_name(header: GgufHeader, path: Path) -> dict[str, TensorInfo]:
    infos = {}
    for name, info in header.tensors.items():
        layer = re.fullmatch(r"blk\.(\d{1,5})\.(\w+)\.(weight|bias)", name)
        if name in _GLOBAL_NAMES:
            infos[_GLOBAL_NAMES[name]] = info
        elif layer and layer[2] in _LAYER_NAMES:
            infos[f"model.layers.{int(layer[1])}.{_LAYER_NAMES[layer[2]]}.{layer[3]}"] = info
        elif name != _ROPE_FREQS:
            raise UnsupportedConfigError(f"{path}: tensor {name} is unknown to this engine")
    return infos


def _rope_row_order(rows: int, head_dim: int) -> Tensor:
    """The index in the file of each row of Q or K, if the file's rows are interleaved (`gguf_interleaves`).

    llama.cpp rotates neighbouring rows (2i, 2i + 1), so its converter interleaves the two halves of every head;
    here row `i` pairs with `i + head_dim / 2`, as in the Hugging Face checkpoint.
    """
    return torch.arange(rows).reshape(-1, head_dim // 2, 2).transpose(1, 2).reshape(-1)
