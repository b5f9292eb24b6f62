"""Explains what a folder contains if it is not a checkpoint, and what to do about it."""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError
from .json_file import read_json
from .plain_file import is_there

CONFIG_FILE = "config.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_FILE = "adapter_config.json"

_SAVE = "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)"
_OTHER_WEIGHTS = {
    "adapter_model.*": "has the weights of a PEFT adapter, which is not a complete model: merge it into its base first",
    "pytorch_model*.bin": f"is a pickle, which could run code and is never opened: {_SAVE} of transformers writes "
    "safetensors",
    "*.pt": "is a pickle, which could run code and is never opened",
    "*.pth": "is a pickle, which could run code and is never opened: use the checkpoint in Hugging Face's format",
    "*.onnx": "is an ONNX export: use the checkpoint that it was made from",
    "onnx/*.onnx": "is an ONNX export: use the checkpoint that it was made from",
    "*.npz": "is an MLX checkpoint: use the one that it was made from",
    "*.h5": "is a TensorFlow checkpoint: use the one in safetensors",
    "*.msgpack": "is a Flax checkpoint: use the one in safetensors",
    "*-00001-of-*.safetensors": f"is a shard without its index: also download {INDEX_FILE}",
    "*.safetensors": f"is not called {SINGLE_FILE}: rename it",
    "*.bin": "is a pickle, which could run code and is never opened",
    "*.incomplete": "is an incomplete download: start the download again",
    "*.part": "is an incomplete download: start the download again",
}
"""Files that explain why a folder looks like a model but is not one, most helpful first."""


def gguf_in_folder(folder: Path) -> Path | None:
    """Return the GGUF file of a folder without other weights, or None.

    Raises:
        CheckpointError: There are several, or the folder cannot be read.
    """
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".gguf")
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror}") from error
    if not files or any(is_there(folder / name) for name in (SINGLE_FILE, INDEX_FILE)):
        return None
    if len(files) > 1:
        raise CheckpointError(f"{folder}: has {len(files)} GGUF files; give one of them: {_some(files)}")
    return files[0]


def refuse_adapter(folder: Path) -> None:
    """Refuse an adapter that PEFT has saved beside or instead of a model.

    Raises:
        CheckpointError: The folder has an adapter's config.
    """
    file = folder / ADAPTER_FILE
    if not is_there(file):
        return
    values = read_json(file)
    kind, base = values.get("peft_type") or "PEFT", values.get("base_model_name_or_path") or "a model it does not name"
    if is_there(folder / SINGLE_FILE) or is_there(folder / INDEX_FILE):
        raise CheckpointError(
            f"{file}: this {kind} adapter for {base} is beside a model's weights, and transformers would load the "
            "adapter: remove it if it has been merged, or move it to another folder"
        )
    raise CheckpointError(
        f"{folder}: is a {kind} adapter for {base}, not a complete model: merge it once with peft's "
        "AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload().save_pretrained(merged), save the "
        "tokenizer there too, and give that folder"
    )


def explain_missing_config(folder: Path) -> None:
    """Explain what a folder without config.json is.

    Raises:
        CheckpointError: Always, if there is no such file.
    """
    if is_there(folder / CONFIG_FILE):
        return
    snapshots = sorted((folder / "snapshots").glob(f"*/{CONFIG_FILE}"))
    inside = snapshots or sorted(folder.glob(f"*/{CONFIG_FILE}")) + sorted(folder.glob("*/*.gguf"))
    if inside:
        models = [file if file.suffix == ".gguf" else file.parent for file in inside]
        hint = f"it has folders with models; give one of them: {_some(models)}"
    else:
        found = [Path(file.name) for file in sorted(folder.iterdir())]
        hint = _explain(folder) or f"the folder has {_some(found) or 'no files'}"
    raise CheckpointError(f"{folder / CONFIG_FILE}: cannot be read: no such file; {hint}")


def missing_weights(folder: Path) -> CheckpointError:
    """The error about a folder with a config but no safetensors."""
    hint = _explain(folder)
    return CheckpointError(f"{folder}: has neither {SINGLE_FILE} nor {INDEX_FILE}{f'; {hint}' if hint else ''}")


def _explain(folder: Path) -> str:
    for pattern, what in _OTHER_WEIGHTS.items():
        for file in sorted(folder.glob(pattern)):
            if file.name != SINGLE_FILE:
                return f"{file.relative_to(folder)} {what}"
    return ""


def _some(files: list[Path], limit: int = 8) -> str:
    more = f" and {len(files) - limit} more" if len(files) > limit else ""
    return ", ".join(map(str, files[:limit])) + more
