"""What a card counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...model.files.fields import MAX_COUNT, Fields
from .split import SPLITS


class DatasetTally:
    """Counts that survive a checkpoint.

    Attributes:
        dropped: Traces by what dropped them, a filter's name or a kind of duplicate.
        passed: `traces`, those that are `sound` (heuristic filters) and `good` (quality filters too).
        records: By kind and split, such as `"sft/train"`.
        tokens: The same of tokens.
        questions: By split, those with at least one record; and by script, all.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.dropped: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.questions: Counter[str] = Counter()

    @classmethod
    def read(cls, fields: Fields) -> DatasetTally:
        """Go on from what `to_object` wrote.

        Raises:
            MarcotError: Of the kind that `fields` raises: it is something else.
        """
        tally = cls()
        for name, counts in vars(tally).items():
            saved = fields.section(name)
            counts.update({key: saved.integer(key, low=0, high=MAX_COUNT) for key in saved.values})
        return tally

    def to_object(self) -> dict[str, Any]:
        """For JSON, and for `read`."""
        return {name: dict(sorted(counts.items())) for name, counts in sorted(vars(self).items())}

    def splits(self, kind: str) -> list[str]:
        """The splits that have records of `kind`."""
        return [split for split in SPLITS if self.records[f"{kind}/{split}"]]
