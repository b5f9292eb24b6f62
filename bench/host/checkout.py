"""A checkout of the repository that is measured beside another one."""

from __future__ import annotations

from pathlib import Path


def linked(checkout: Path, folder: Path) -> Path:
    """Make `folder` one for `PYTHONPATH`, where `marcot` is that of `checkout`."""
    package = folder / "marcot"
    package.mkdir(parents=True)
    parts = (checkout / name for name in ("engine", "kernels", "model"))
    for part in (*(checkout / "engine" / "root").glob("*py*"), *parts):
        (package / part.name).symlink_to(part)
    return folder
