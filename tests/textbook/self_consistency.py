"""Chains from the prompt. Only the vote differs from best-of-n, so the chains come simply one after the other."""

from __future__ import annotations

from .story import Story


def self_consistency(story: Story) -> None:
    while not story.told:
        story.finish([story.root])
