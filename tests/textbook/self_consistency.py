"""Chains from the prompt. Only the vote differs from best-of-n, so the chains come simply one after the other."""

from __future__ import annotations

from .search import Search


def self_consistency(search: Search) -> None:
    while not search.finished:
        search.finish([search.root])
