"""The folder for a user's cached files, which can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """Return the folder `marcot` in the user's cache directory; it need not exist yet.

    None where there is no such directory: neither `XDG_CACHE_HOME` nor `HOME` is an absolute path, and the user has no
    entry in the system's list, as in a container that runs under an arbitrary user id.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "marcot" if base.is_absolute() else None
