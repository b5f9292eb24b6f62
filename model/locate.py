"""From what a user calls a model to a path."""

from __future__ import annotations

from pathlib import Path

from .catalog import BUILT_IN_MODELS
from .checkpoint import Checkpoint
from .download import fetch
from .errors import ModelNotFoundError
from .formats import open_checkpoint
from .hub import is_hub_id, snapshot


def locate(name: str | Path) -> Path:
    """Return the folder or .gguf file of a model, fetching it when it is not on this machine.

    Args:
        name: An existing folder or file, a built-in name (`BUILT_IN_MODELS`), or a hub id (`organisation/model`);
            tried in this order.

    Raises:
        ModelNotFoundError: Nothing answers to `name`.
        DownloadError: It is elsewhere and cannot be brought here.
    """
    path = Path(name).expanduser()
    if str(name) and path.exists():
        return path
    if str(name) in BUILT_IN_MODELS:
        return fetch(BUILT_IN_MODELS[str(name)])
    if isinstance(name, str) and is_hub_id(name) and path.suffix != ".gguf":
        return snapshot(name)
    raise ModelNotFoundError(
        f"no model called {str(name)!r}: give a folder with config.json and safetensors, a .gguf file, a hub id "
        f"(organisation/model) or a built-in name: {', '.join(BUILT_IN_MODELS)}"
    )


def load_checkpoint(name: str | Path) -> Checkpoint:
    """`locate` and `open_checkpoint` in one call."""
    return open_checkpoint(locate(name))
