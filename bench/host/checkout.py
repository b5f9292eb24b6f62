"""Makes another checkout of the repository importable, to be measured next to this one."""

from __future__ import annotations

from pathlib import Path


def linked(checkout: Path, folder: Path) -> Path:
    """Create `folder`, for `PYTHONPATH`, with a package `marcot` that links to the code of `checkout`; return it."""
    package = folder / "marcot"
    package.mkdir(parents=True)
    parts = (checkout / name for name in ("engine", "kernels", "model"))
    for part in (*(checkout / "engine" / "root").glob("*py*"), *parts):
        (package / part.name).symlink_to(part)
    return folder
