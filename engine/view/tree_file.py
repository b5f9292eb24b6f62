"""The file or files that `marcot search --tree` writes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from ..results.output_file import Recognise, check_replaceable, write_output
from .dot import is_dot, to_dot
from .page import is_page, to_page
from .tree_json import is_json, to_json

if TYPE_CHECKING:
    from ..search import SearchResult


class _TreeFormat(NamedTuple):
    write: Callable[[SearchResult, Mapping[str, Any]], str]
    recognise: Recognise


_KINDS: Mapping[str, _TreeFormat] = {
    ".html": _TreeFormat(to_page, is_page),
    ".dot": _TreeFormat(lambda result, settings: to_dot(result), is_dot),
    ".json": _TreeFormat(to_json, is_json),
}


class TreeFile:
    """The output file for the tree of a search, or numbered files such as `out-0001.html` for a file of questions."""

    def __init__(self, path: Path, *, numbered: bool) -> None:
        """Check that the file can be written, before any search runs.

        Args:
            path: A path that ends in .html, .dot or .json, which selects the format.
            numbered: Whether to write a file per question, with the question's number in its name.

        Raises:
            InputError: The suffix is unknown, the path cannot be written, or another kind of file is there.
        """
        kind = _KINDS.get(path.suffix.lower())
        if kind is None:
            raise InputError(f"{path}: give a name that ends in {', '.join(_KINDS)}")
        if path.is_dir() and not numbered:
            raise InputError(f"{path}: is a folder; give the name of a file")
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {path.parent}: {error.strerror}") from error
        self._path = path
        self._kind = kind
        self._numbered = numbered
        if not numbered:
            self.check([0])

    def path(self, index: int) -> Path:
        """Path of the tree of the question at position `index`."""
        path = self._path
        return path.with_name(f"{path.stem}-{index + 1:04}{path.suffix}") if self._numbered else path

    def check(self, indexes: Iterable[int]) -> None:
        """Check that writing the trees of these questions would overwrite nothing but earlier trees.

        Raises:
            InputError: Another kind of file is in the way; the message names it.
        """
        for index in indexes:
            advice = "give another name"
            check_replaceable(self.path(index), self._kind.recognise, "a tree of marcot search", advice)

    def write(self, index: int, result: SearchResult, settings: Mapping[str, Any]) -> Path:
        """Write the tree of a question atomically, replacing an earlier tree.

        Args:
            index: Position of the question among those of the run.
            result: The search of the question.
            settings: The settings of the search, by name.

        Returns:
            The path of the file.

        Raises:
            InputError: Another kind of file is there now.
            OutputError: The file cannot be written.
        """
        path = self.path(index)
        self.check([index])
        # DOT cannot represent a lone surrogate, so it is replaced.
        write_output(path, self._kind.write(result, settings).encode(errors="replace"))
        return path
