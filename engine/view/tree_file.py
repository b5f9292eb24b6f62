"""The file, or the files, that `marcot search --tree` writes."""

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
    """A place for the tree of one search, or of each search of a file of questions: `out-0001.html` and so on."""

    def __init__(self, path: Path, *, numbered: bool) -> None:
        """Check the place, so that no search is done in vain.

        Args:
            path: A name that ends in .html, .dot or .json, which says what is written.
            numbered: Write a file per question, with the question's number in its name.

        Raises:
            InputError: The name has another ending, nothing can be written there, or a file of somebody else is there.
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
        """Where the tree of the question at position `index` goes."""
        path = self._path
        return path.with_name(f"{path.stem}-{index + 1:04}{path.suffix}") if self._numbered else path

    def check(self, indexes: Iterable[int]) -> None:
        """Check that the trees of these questions would replace none but trees.

        Raises:
            InputError: A file of somebody else is in the way; it is named.
        """
        for index in indexes:
            advice = "give another name"
            check_replaceable(self.path(index), self._kind.recognise, "a tree of marcot search", advice)

    def write(self, index: int, result: SearchResult, settings: Mapping[str, Any]) -> Path:
        """Write the tree of a question, whole or not at all, in place of the tree that was there.

        Args:
            index: The question's position among those of the request.
            result: Its search.
            settings: How the search was made, by name.

        Returns:
            The path of the file.

        Raises:
            InputError: A file of somebody else is there now.
            OutputError: It cannot be written any more.
        """
        path = self.path(index)
        self.check([index])
        # A graph cannot have halves of surrogate pairs in any other way.
        write_output(path, self._kind.write(result, settings).encode(errors="replace"))
        return path
