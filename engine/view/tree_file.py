"""The file, or the files, that `marcot search --tree` writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..search import SearchResult
from .dot import to_dot
from .page import to_page
from .tree_json import to_json

_WRITERS: Mapping[str, Callable[[SearchResult, Mapping[str, Any]], str]] = {
    ".html": to_page,
    ".dot": lambda result, settings: to_dot(result),
    ".json": to_json,
}


class TreeFile:
    """A place for the tree of one search, or of each search of a file of questions: `out-0001.html` and so on."""

    def __init__(self, path: Path, *, numbered: bool) -> None:
        """Check the place, so that no search is done in vain.

        Args:
            path: A name that ends in .html, .dot or .json, which says what is written.
            numbered: Write a file per question, with the question's number in its name.

        Raises:
            InputError: The name has another ending, or nothing can be written there.
        """
        writer = _WRITERS.get(path.suffix.lower())
        if writer is None:
            raise InputError(f"--tree {path}: give a name that ends in {', '.join(_WRITERS)}")
        if path.is_dir() and not numbered:
            raise InputError(f"--tree {path}: is a folder; give the name of a file")
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise InputError(f"--tree {path}: cannot be written: {path.parent}: {error.strerror}") from error
        self._path = path
        self._write = writer
        self._numbered = numbered

    def path(self, index: int) -> Path:
        """Where the tree of the question at position `index` goes."""
        path = self._path
        return path.with_name(f"{path.stem}-{index + 1:04}{path.suffix}") if self._numbered else path

    def write(self, index: int, result: SearchResult, settings: Mapping[str, Any]) -> Path:
        """Write the tree of a question, whole or not at all, in place of what was there.

        Args:
            index: The question's position among those of the request.
            result: Its search.
            settings: How the search was made, by name.

        Returns:
            The path of the file.

        Raises:
            InputError: It cannot be written any more.
        """
        path = self.path(index)
        # A graph cannot have halves of surrogate pairs in any other way.
        content = self._write(result, settings).encode(errors="replace")
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_bytes(content)
            beside.replace(path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise InputError(f"--tree {path}: cannot be written: {error.strerror}") from error
        return path
