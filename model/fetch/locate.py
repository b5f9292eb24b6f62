"""Finds the path of a model from its name."""

from __future__ import annotations

import os
from pathlib import Path

from ..checkpoint import Checkpoint
from ..errors import ModelNotFoundError
from ..files.plain_file import is_there
from ..formats import open_checkpoint
from .cache import cached_model
from .catalog import BUILT_IN_MODELS
from .download import fetch
from .hub import fetch_from_hub, hub_name


def locate(name: str | Path) -> Path:
    """Return the folder or .gguf file of a model, downloading it if it is not on this machine.

    Args:
        name: An existing folder or file, a built-in name (`BUILT_IN_MODELS`), or a hub id (`organisation/model`, with
            `@revision` or `:file.gguf` after it); tried in this order.

    Raises:
        ModelNotFoundError: There is no such model.
        DownloadError: It cannot be downloaded.
    """
    path = _existing(name)
    if path is not None:
        return path
    if str(name) in BUILT_IN_MODELS:
        return fetch(BUILT_IN_MODELS[str(name)])
    on_hub = hub_name(name) if isinstance(name, str) else None
    if on_hub is not None:
        return fetch_from_hub(on_hub)
    raise ModelNotFoundError(
        f"no model called {str(name)!r}: give a folder with config.json and safetensors, a .gguf file, a hub id "
        "(organisation/model, organisation/model@revision, organisation/model:file.gguf) or a built-in name: "
        f"{', '.join(BUILT_IN_MODELS)}"
    )


def find_here(name: str | Path) -> Path | None:
    """What `locate` would return for a path or a built-in name, if it needs no download; else None."""
    path = _existing(name)
    if path is not None:
        return path
    built_in = BUILT_IN_MODELS.get(str(name))
    return None if built_in is None else cached_model(built_in.name, built_in.size)


def _existing(name: str | Path) -> Path | None:
    """The folder or file at the path `name`, if there is one."""
    path = Path(os.path.expanduser(name))  # unchanged if there is no such home
    return path if str(name) and is_there(path) else None


def load_checkpoint(name: str | Path) -> Checkpoint:
    """`locate` and `open_checkpoint` in one call."""
    return open_checkpoint(locate(name))
