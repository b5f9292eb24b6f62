"""Chains from the prompt, one after the other or several at once."""

from __future__ import annotations

from .search import Search


def best_of_n(search: Search) -> None:
    while not search.finished:
        wave = [search.root]
        while search.fits(wave):
            wave.append(search.root)
        search.finish(wave)
