"""Chains from the prompt; only the vote differs from best-of-n, so this one is written one chain after the other."""

from __future__ import annotations

from .story import Story


def self_consistency(story: Story) -> None:
    while not story.told:
        story.finish([story.root])
