"""Writes a comparison to a file: HTML, markdown or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError
from ...results.json_form import to_line
from ...results.output_file import Recognise, check_replaceable, write_outputs
from ..report.sections import to_markdown
from .comparison import Comparison, Contestant
from .page import comparison_page, is_comparison_page
from .text import comparison_sections, is_comparison_markdown
from .trees import ComparisonTrees


class _ComparisonFormat(NamedTuple):
    write: Callable[[Comparison, Mapping[tuple[int, Contestant], str]], str]
    recognise: Recognise


_KINDS: Mapping[str, _ComparisonFormat] = {
    ".html": _ComparisonFormat(comparison_page, is_comparison_page),
    ".md": _ComparisonFormat(
        lambda comparison, trees: to_markdown(comparison_sections(comparison)), is_comparison_markdown
    ),
    ".json": _ComparisonFormat(
        lambda comparison, trees: to_line(comparison.to_object()) + "\n",
        lambda head: head.startswith(b'{"contestants": [{"model": '),
    ),
}


class ComparisonFile:
    """The output file of a comparison: a page (.html, with a folder of tree pages), text (.md) or numbers (.json)."""

    def __init__(self, path: Path) -> None:
        """Check that the file can be written, before any model runs.

        Raises:
            InputError: The name has another suffix, the folder does not exist, or the path holds another kind of file.
        """
        kind = _KINDS.get(path.suffix.lower())
        if kind is None:
            raise InputError(f"--out {path}: must end in {', '.join(_KINDS)}")
        if not path.parent.is_dir():
            raise InputError(f"--out {path}: there is no folder {path.parent}")
        check_replaceable(path, kind.recognise, "a comparison of marcot", "give --out another name")
        self._path = path
        self._kind = kind
        self._trees = ComparisonTrees(path) if kind.write is comparison_page else None

    def write(self, comparison: Comparison) -> None:
        """Write `comparison` and its trees, or nothing at all, replacing an earlier comparison.

        Raises:
            InputError: The folder of trees now holds a page that marcot did not write.
            OutputError: The comparison cannot be written.
        """
        trees = self._trees
        links = {} if trees is None else trees.links(comparison)
        files = {self._path: self._kind.write(comparison, links).encode(errors="backslashreplace")}
        try:
            write_outputs(files if trees is None else files | trees.files(comparison))
        finally:
            if trees is not None:
                trees.remove_if_empty()
