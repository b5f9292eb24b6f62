"""A finished search, read back from the JSON object that `tree_json` makes of it."""

from __future__ import annotations

import os

from ..search import SearchResult


def read_tree(path: str | os.PathLike[str]) -> SearchResult:
    """`SearchResult.load`, under the name that it has had since 0.1."""
    return SearchResult.load(path)
