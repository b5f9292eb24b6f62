"""Chooses the tokenizer with which `marcot dataset` counts tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...model import BUILT_IN_MODELS, CheckpointError, cached_model, load_checkpoint
from ...model.files.strict_json import parse
from ..errors import InputError

Encode = Callable[[str], list[int]]


class Counting(NamedTuple):
    """The tokenizer that counts tokens.

    Attributes:
        name: The name of its model; None if tokens are not counted.
        encode: Encodes a text.
        fingerprint: Differs for different tokenizers.
    """

    name: str | None = None
    encode: Encode | None = None
    fingerprint: str | None = None


def chosen_tokenizer(name: str, sources: Sequence[Path]) -> Counting:
    """The tokenizer of a model.

    Args:
        name: A model, `auto` or `none`.
        sources: Files to be read; with `auto`, the first line of the first result file names the model.

    Raises:
        InputError: The model has no tokenizer.
    """
    if name == "none":
        return Counting()
    automatic = name == "auto"
    if automatic:
        found = next((model for model in map(_model_of, sources) if model is not None), None)
        if found is None or not _is_here(found):
            return Counting()
        name = found
    try:
        with load_checkpoint(name) as checkpoint:
            tokenizer = checkpoint.tokenizer()
    except CheckpointError as error:
        if not automatic:
            raise
        raise InputError(f"--tokenizer auto: {error}; name another model, or none") from error
    if tokenizer is None:
        if automatic:
            return Counting()
        raise InputError(f"--tokenizer {name}: this checkpoint has no tokenizer")
    return Counting(name, tokenizer.encode, tokenizer.fingerprint())


def _model_of(path: Path) -> str | None:
    """The model that the first line of `path` names."""
    try:
        with path.open("rb") as file:
            entry = parse(file.readline(1 << 24))
    except (OSError, ValueError):
        # The reader of the file reports what is wrong with it.
        return None
    settings = entry.get("settings") if isinstance(entry, dict) else None
    model = settings.get("model") if isinstance(settings, dict) else None
    return model if isinstance(model, str) and model else None


def _is_here(model: str) -> bool:
    """Whether `model` can be opened without a download."""
    if model in BUILT_IN_MODELS:
        return cached_model(model, BUILT_IN_MODELS[model].size) is not None
    try:
        return Path(model).exists()
    except OSError:
        return False
