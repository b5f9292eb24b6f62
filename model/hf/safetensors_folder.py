"""A checkpoint in a Hugging Face folder: config.json, safetensors and, usually, tokenizer.json."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from ..checkpoint import Checkpoint
from ..errors import CheckpointError, UnsupportedConfigError
from ..fetch.hub import WANTED_FILES
from ..files.folder_kind import (
    CONFIG_FILE,
    INDEX_FILE,
    SINGLE_FILE,
    explain_missing_config,
    missing_weights,
    refuse_adapter,
)
from ..files.json_file import MAX_BYTES, read_json, read_json_if_present
from ..files.plain_file import is_there, open_plain, read_plain, refuse_cut
from ..files.rust_errors import translated
from ..parameters import EMBEDDING, LM_HEAD
from ..tokenizer import Tokenizer
from .config import config_from_hf
from .end_tokens import end_tokens_of_folder
from .tokenizer import tokenizer_from_folder


class SafetensorsFolder(Checkpoint):
    """Weights in one safetensors file, or in shards with an index; both are memory-mapped."""

    def __init__(self, path: Path) -> None:
        """Open the folder `path`: parse its config, map its files, check their headers.

        Raises:
            CheckpointError: A file is missing, truncated or broken.
            UnsupportedConfigError: The config needs something this engine does not implement.
        """
        refuse_adapter(path)
        explain_missing_config(path)
        config_file = path / CONFIG_FILE
        generation = read_json_if_present(path / "generation_config.json")
        config = config_from_hf(read_json(config_file), generation, str(config_file))
        ends = dict.fromkeys(config.eos_token_ids + end_tokens_of_folder(path, config.vocab_size))
        super().__init__(path, replace(config, eos_token_ids=tuple(ends)))
        self._weight_files = _weight_files(path)
        self._open_files = {file: _open(file) for file in sorted(set(self._weight_files.values()))}
        self._check_tied_head()

    def tokenizer(self) -> Tokenizer | None:
        """Build the tokenizer from `tokenizer.json`, or from `vocab.json` and `merges.txt`; None if there is none."""
        return tokenizer_from_folder(self.path)

    def has(self, name: str) -> bool:
        """Whether a tensor with this Hugging Face name is stored."""
        return name in self._weight_files

    @property
    def quantised(self) -> bool:
        """Always False, because quantised safetensors are refused."""
        return False

    def _check_tied_head(self) -> None:
        """Refuse a separate LM head if the config ties it to the embedding, and a missing one if it does not.

        Versions of transformers disagree on which of two heads counts, and make a random one if there is none.
        """
        if not self.config.tied_embeddings and self.has(EMBEDDING) and not self.has(LM_HEAD):
            raise UnsupportedConfigError(
                f"{self.path / CONFIG_FILE}: tie_word_embeddings is False or missing, but there is no tensor "
                f"{LM_HEAD}: set the field to true if {EMBEDDING} is also the LM head"
            )
        if not (self.config.tied_embeddings and self.has(LM_HEAD) and self.has(EMBEDDING)):
            return
        head, embedding = self._read(LM_HEAD), self._read(EMBEDDING)
        if head.dtype != embedding.dtype or not torch.equal(head, embedding):
            raise UnsupportedConfigError(
                f"{self.path / CONFIG_FILE}: tie_word_embeddings is True, but {LM_HEAD} in {self._file_of(LM_HEAD)} "
                f"differs from {EMBEDDING}: set the field to false to use it, or remove the tensor"
            )

    def _file_of(self, name: str) -> Path:
        return self._weight_files.get(name, self.path)

    def _described(self) -> Iterator[bytes | memoryview]:
        for file in sorted({file for pattern in WANTED_FILES for file in self.path.glob(pattern)}):
            yield file.name.encode()
            yield read_plain(file, MAX_BYTES)
        for name in sorted(filter(self.has, self._shapes)):
            tensor = self._read(name)
            yield f"{name} {tensor.dtype} {list(tensor.shape)}".encode()

    def _read(self, name: str) -> Tensor:
        file = self._weight_files[name]
        mapped = self._open_files[file]
        refuse_cut(file, mapped.opened)
        try:
            tensor: Tensor = mapped.tensors.get_tensor(name)  # type: ignore[no-untyped-call]
        except BaseException as error:
            raise translated(error, f"{file}: tensor {name} cannot be read") from error
        return tensor

    def close(self) -> None:
        """Close the files; tensors that were read stay valid."""
        self._open_files.clear()


def _weight_files(folder: Path) -> dict[str, Path]:
    """Map every stored tensor's name to its file."""
    single, index = folder / SINGLE_FILE, folder / INDEX_FILE
    if is_there(single):
        return dict.fromkeys(_open(single).tensors.keys(), single)  # type: ignore[no-untyped-call]
    if not is_there(index):
        raise missing_weights(folder)
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{index}: weight_map must be an object")
    files: dict[str, Path] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or PurePath(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(f"{index}: tensor {name}: {shard!r} is not the name of a safetensors file beside it")
        files[name] = folder / shard
    for file in sorted(set(files.values())):
        if not is_there(file):
            name = next(name for name, holder in files.items() if holder == file)
            raise CheckpointError(f"{file}: this shard is missing; it should have tensor {name}")
    return files


class _Mapped(NamedTuple):
    """A mapped file.

    Attributes:
        tensors: Its tensors by name.
        opened: The file's status when it was opened.
    """

    tensors: safe_open
    opened: os.stat_result


def _open(file: Path) -> _Mapped:
    with open_plain(file) as plain:
        opened = os.fstat(plain.fileno())
    try:
        return _Mapped(safe_open(file, framework="pt"), opened)
    except BaseException as error:
        raise translated(error, f"{file}: is not a complete safetensors file") from error
