"""Chains from the prompt, one after the other or several at once."""

from __future__ import annotations

from .story import Story


def best_of_n(story: Story) -> None:
    while not story.told:
        wave = [story.root]
        while story.fits(wave):
            wave.append(story.root)
        story.finish(wave)
