"""Which reader opens which path."""

from __future__ import annotations

from pathlib import Path

from .checkpoint import Checkpoint
from .errors import ModelNotFoundError
from .gguf_file import GgufFile
from .safetensors_folder import SafetensorsFolder


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a Hugging Face folder or a .gguf file.

    Raises:
        ModelNotFoundError: There is nothing at `path`, or it is of neither kind.
        CheckpointError: It is broken; the message names file and tensor.
        UnsupportedConfigError: It asks for what this engine does not do; the message names the field.
    """
    if path.is_dir():
        return SafetensorsFolder(path)
    if not path.exists():
        raise ModelNotFoundError(f"{path}: no such file or folder")
    if path.suffix.lower() != ".gguf":
        raise ModelNotFoundError(f"{path}: neither a .gguf file nor a folder with config.json and safetensors")
    return GgufFile(path)
