"""One chain of the most probable tokens."""

from __future__ import annotations

from .story import Story


def greedy(story: Story) -> None:
    story.finish([story.root], greedy=1)
