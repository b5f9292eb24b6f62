"""What a card counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .split import SPLITS


class Tally:
    """Counts that survive a checkpoint.

    Attributes:
        dropped: Traces by what dropped them, a filter's name or a kind of duplicate.
        passed: `traces`, those that are `sound` (heuristic filters) and `good` (quality filters too).
        records: By kind and split, such as `"sft/train"`.
        tokens: The same of tokens.
        questions: By split, those with at least one record; and by script, all.
    """

    def __init__(self, state: Mapping[str, Mapping[str, int]] | None = None) -> None:
        """Go on from `state`, or from nothing."""
        saved = state or {}
        self.dropped = Counter(saved.get("dropped", {}))
        self.passed = Counter(saved.get("passed", {}))
        self.records = Counter(saved.get("records", {}))
        self.tokens = Counter(saved.get("tokens", {}))
        self.questions = Counter(saved.get("questions", {}))

    def as_object(self) -> dict[str, Any]:
        """For JSON, and for `Tally(state)`."""
        return {name: dict(sorted(counts.items())) for name, counts in sorted(vars(self).items())}

    def splits(self, kind: str) -> list[str]:
        """The splits that have records of `kind`."""
        return [split for split in SPLITS if self.records[f"{kind}/{split}"]]
