"""Opens a checkpoint with the reader for its format."""

from __future__ import annotations

from pathlib import Path

from .checkpoint import Checkpoint
from .errors import ModelNotFoundError
from .files.folder_kind import gguf_in_folder
from .files.plain_file import is_there
from .gguf.gguf_file import GgufFile
from .hf.safetensors_folder import SafetensorsFolder


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a Hugging Face folder, a .gguf file, or a folder whose only weights are one .gguf file.

    Raises:
        ModelNotFoundError: There is nothing at `path`, or it is of another kind.
        CheckpointError: It is damaged; the message names file and tensor.
        UnsupportedConfigError: It needs something this engine does not implement; the message names the field.
    """
    if not is_there(path):
        raise ModelNotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        inside = gguf_in_folder(path)
        return SafetensorsFolder(path) if inside is None else GgufFile(inside)
    if path.suffix.lower() != ".gguf":
        beside = is_there(path.parent / "config.json")
        hint = f"; give its folder: {path.parent}" if beside else ""
        raise ModelNotFoundError(f"{path}: must be a .gguf file or a folder with config.json and safetensors{hint}")
    return GgufFile(path)
