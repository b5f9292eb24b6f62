"""Read a finished search back from a JSON file that `tree_json` wrote."""

from __future__ import annotations

import os

from ..search import SearchResult


def read_tree(path: str | os.PathLike[str]) -> SearchResult:
    """Read a finished search; the same as `SearchResult.load`, under its older name (since 0.1)."""
    return SearchResult.load(path)
