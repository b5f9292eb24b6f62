"""What a folder holds that is no checkpoint of ours, and what to do about it."""

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
    "adapter_model.*": "has the weights of a PEFT adapter, no model of its own: merge it into its base first",
    "pytorch_model*.bin": f"is a pickle, which could run code and is never opened: {_SAVE} of transformers writes "
    "safetensors",
    "*.pt": "is a pickle, which could run code and is never opened",
    "*.pth": "is a pickle, which could run code and is never opened: take the checkpoint in Hugging Face's format",
    "*.onnx": "is an ONNX export: take the checkpoint that it was made from",
    "onnx/*.onnx": "is an ONNX export: take the checkpoint that it was made from",
    "*.npz": "is a checkpoint of MLX: take the one that it was made from",
    "*.h5": "is a checkpoint of TensorFlow: take the one in safetensors",
    "*.msgpack": "is a checkpoint of Flax: take the one in safetensors",
    "*-00001-of-*.safetensors": f"is a shard whose index is missing: bring {INDEX_FILE} from where it came from",
    "*.safetensors": f"has another name than {SINGLE_FILE}",
    "*.bin": "is a pickle, which could run code and is never opened",
    "*.incomplete": "was not downloaded to its end: start the download again",
    "*.part": "was not downloaded to its end: start the download again",
}
"""Files without which nobody would take a folder for a model, in the order in which they explain it best."""


def gguf_in_folder(folder: Path) -> Path | None:
    """Return the GGUF file of a folder whose only weights it is, or None.

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
        raise CheckpointError(f"{folder}: holds {len(files)} GGUF files, give one: {_some(files)}")
    return files[0]


def refuse_adapter(folder: Path) -> None:
    """Refuse what PEFT saves beside or instead of a model.

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
            f"{file}: there are weights of a model beside this {kind} adapter for {base}; transformers would load the "
            "adapter: move it away if it has been merged, or keep it apart from the weights"
        )
    raise CheckpointError(
        f"{folder}: a {kind} adapter for {base}, which is no model of its own: merge it once, with "
        "AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload().save_pretrained(merged) of peft, save the "
        "tokenizer there too, and give that folder"
    )


def explain_missing_config(folder: Path) -> None:
    """Say what a folder without config.json is.

    Raises:
        CheckpointError: Always, when there is no such file.
    """
    if is_there(folder / CONFIG_FILE):
        return
    snapshots = sorted((folder / "snapshots").glob(f"*/{CONFIG_FILE}"))
    inside = snapshots or sorted(folder.glob(f"*/{CONFIG_FILE}")) + sorted(folder.glob("*/*.gguf"))
    if inside:
        models = [file if file.suffix == ".gguf" else file.parent for file in inside]
        hint = f"models lie below it, give one: {_some(models)}"
    else:
        found = [Path(file.name) for file in sorted(folder.iterdir())]
        hint = _explain(folder) or f"there is {_some(found) or 'nothing'}"
    raise CheckpointError(f"{folder / CONFIG_FILE}: cannot be read: no such file; {hint}")


def missing_weights(folder: Path) -> CheckpointError:
    """The error to raise about a folder with a config and no safetensors."""
    hint = _explain(folder)
    return CheckpointError(f"{folder}: neither {SINGLE_FILE} nor {INDEX_FILE} is there{f'; {hint}' if hint else ''}")


def _explain(folder: Path) -> str:
    for pattern, what in _OTHER_WEIGHTS.items():
        for file in sorted(folder.glob(pattern)):
            if file.name != SINGLE_FILE:
                return f"{file.relative_to(folder)} {what}"
    return ""


def _some(files: list[Path], limit: int = 8) -> str:
    more = f" and {len(files) - limit} more" if len(files) > limit else ""
    return ", ".join(map(str, files[:limit])) + more
