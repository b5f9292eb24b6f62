"""Files that git left as pointers to their content."""

from __future__ import annotations

from pathlib import Path

from .errors import CheckpointError

_FIRST_LINE = b"version https://git-lfs.github.com/spec/"


def refuse_lfs_pointer(file: Path) -> None:
    """Refuse the three lines of text that `git clone` leaves in place of a large file without Git LFS.

    Raises:
        CheckpointError: `file` is such a pointer.
    """
    try:
        with file.open("rb") as opened:
            first = opened.read(len(_FIRST_LINE))
    except OSError:
        return  # whoever reads the file will say why that fails
    if first == _FIRST_LINE:
        raise CheckpointError(
            f"{file}: a Git LFS pointer, not the file itself: run 'git lfs install' and 'git lfs pull' in its folder"
        )
