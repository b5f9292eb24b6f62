"""Where downloaded models are stored."""

from __future__ import annotations

import os
from pathlib import Path

from ...kernels.user_cache import user_cache
from ..errors import DownloadError

ENVIRONMENT_VARIABLE = "MARCOT_CACHE"


def models_folder() -> Path:
    """Return `$MARCOT_CACHE`, or `marcot/models` in the user's cache directory; it need not exist yet.

    Raises:
        DownloadError: There is no such directory.
    """
    override = os.environ.get(ENVIRONMENT_VARIABLE)
    if override:
        try:
            return Path(override).expanduser()
        except RuntimeError as error:
            raise DownloadError(f"{ENVIRONMENT_VARIABLE}={override}: there is no such home directory") from error
    ours = user_cache()
    if ours is None:
        raise DownloadError(
            f"no place for built-in models: this user has no home directory; set {ENVIRONMENT_VARIABLE} to a folder"
        )
    return ours / "models"


def cached_model(name: str, size: int) -> Path | None:
    """Return the file of the built-in model `name` if it has been downloaded completely."""
    file = models_folder() / f"{name}.gguf"
    return file if file.is_file() and file.stat().st_size == size else None
