"""One chain of the most probable tokens."""

from __future__ import annotations

from .search import Search


def greedy(search: Search) -> None:
    search.finish([search.root], greedy=1)
