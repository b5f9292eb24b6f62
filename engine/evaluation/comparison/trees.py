"""The trees of a comparison: one page per search, in a folder next to the page that links to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ...errors import InputError, OutputError
from ...results.output_file import check_replaceable
from ...view import is_page, to_page
from .comparison import Comparison, Contestant


class ComparisonTrees:
    """The folder with the tree pages of a comparison, such as `report-trees` next to `report.html`."""

    def __init__(self, page: Path) -> None:
        """Check that the folder can be used, before any model runs.

        Args:
            page: Path of the comparison's page.

        Raises:
            InputError: The path is a file, or the folder holds pages that marcot did not write.
        """
        self._folder = page.with_name(f"{page.stem}-trees")
        if self._folder.exists() and not self._folder.is_dir():
            raise InputError(f"{self._folder}: is not a folder, but trees are written to it; give --out another name")
        for path in sorted(self._folder.glob("*.html")):
            self._check(path)

    def links(self, comparison: Comparison) -> Mapping[tuple[int, Contestant], str]:
        """Links from the comparison's page to the page of each search, by position of the prompt and contestant."""
        return {key: quote(f"{self._folder.name}/{self._name(*key, comparison)}") for key in comparison.searches}

    def files(self, comparison: Comparison) -> dict[Path, bytes]:
        """The contents of each search's page, by path; creates the folder.

        Raises:
            InputError: The folder now holds a page that marcot did not write.
            OutputError: The folder cannot be created.
        """
        files = {}
        for (position, contestant), result in comparison.searches.items():
            path = self._folder / self._name(position, contestant, comparison)
            self._check(path)
            try:
                self._folder.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"{self._folder}: cannot be made: {error.strerror}") from error
            files[path] = to_page(result, comparison.settings[contestant]).encode(errors="backslashreplace")
        return files

    def remove_if_empty(self) -> None:
        """Remove the folder if it holds no page."""
        with suppress(OSError):
            self._folder.rmdir()

    @staticmethod
    def _name(position: int, contestant: Contestant, comparison: Comparison) -> str:
        number = comparison.contestants.index(contestant) + 1
        words = re.sub(r"[^\w.=-]+", "_", "-".join(contestant)).strip("_")
        # File names are limited to 255 bytes, and a character takes up to 4.
        return f"{position + 1:04}-{number}-{words[:50]}.html"

    @staticmethod
    def _check(path: Path) -> None:
        check_replaceable(path, is_page, "a tree of marcot", "give --out another name")
