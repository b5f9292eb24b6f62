"""The trees of a comparison: a page for every search, in a folder beside the page that links to them."""

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
    """The folder `report-trees` beside `report.html`."""

    def __init__(self, page: Path) -> None:
        """Check the place, so that no model is asked in vain.

        Args:
            page: Where the page of the comparison goes.

        Raises:
            InputError: There is a file of that name, or pages of somebody else are in the folder.
        """
        self._folder = page.with_name(f"{page.stem}-trees")
        if self._folder.exists() and not self._folder.is_dir():
            raise InputError(f"{self._folder}: is no folder, and trees would go into it; give --out another name")
        for path in sorted(self._folder.glob("*.html")):
            self._check(path)

    def links(self, comparison: Comparison) -> Mapping[tuple[int, Contestant], str]:
        """What the page of the comparison calls the page of each search, by position of the prompt, and contestant."""
        return {key: quote(f"{self._folder.name}/{self._name(*key, comparison)}") for key in comparison.searches}

    def files(self, comparison: Comparison) -> dict[Path, bytes]:
        """The page of each search of `comparison`, by path; the folder is made.

        Raises:
            InputError: A page of somebody else is there now.
            OutputError: The folder cannot be made.
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
        """Remove the folder, if no page got there."""
        with suppress(OSError):
            self._folder.rmdir()

    @staticmethod
    def _name(position: int, contestant: Contestant, comparison: Comparison) -> str:
        number = comparison.contestants.index(contestant) + 1
        words = re.sub(r"[^\w.=-]+", "_", "-".join(contestant)).strip("_")
        # Longer names than 255 bytes are no names, and a letter has up to four.
        return f"{position + 1:04}-{number}-{words[:50]}.html"

    @staticmethod
    def _check(path: Path) -> None:
        check_replaceable(path, is_page, "a tree of marcot", "give --out another name")
