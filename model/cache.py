"""Where fetched models are kept."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "MARCOT_CACHE"


def models_folder() -> Path:
    """Return `$MARCOT_CACHE`, or `marcot/models` in the user's cache directory; it need not exist yet."""
    override = os.environ.get(ENVIRONMENT_VARIABLE)
    if override:
        return Path(override).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "marcot" / "models"


def cached_model(name: str, size: int) -> Path | None:
    """Return the file of the built-in model `name` if it has been fetched whole."""
    file = models_folder() / f"{name}.gguf"
    return file if file.is_file() and file.stat().st_size == size else None
