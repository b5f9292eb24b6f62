"""The counts that a card shows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...model.files.fields import MAX_COUNT, Fields
from .split import SPLITS


class DatasetTally:
    """Counts that survive a checkpoint.

    Attributes:
        dropped: Dropped traces by reason: the name of a filter, or a kind of duplicate.
        passed: Counts of all `traces`, of `sound` ones (passed the heuristic filters) and of `good` ones (passed the
            quality filters too).
        records: Number of records by kind and split, such as `"sft/train"`.
        tokens: Number of tokens by kind and split.
        questions: Questions with at least one record, by kind and split; and all questions, by script.
    """

    def __init__(self) -> None:
        """Set all counts to zero."""
        self.dropped: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.questions: Counter[str] = Counter()

    @classmethod
    def read(cls, fields: Fields) -> DatasetTally:
        """Restore the counts that `to_object` wrote.

        Raises:
            MarcotError: The fields are invalid; the class is the one that `fields` raises.
        """
        tally = cls()
        for name, counts in vars(tally).items():
            saved = fields.section(name)
            counts.update({key: saved.integer(key, low=0, high=MAX_COUNT) for key in saved.values})
        return tally

    def to_object(self) -> dict[str, Any]:
        """The counts as a JSON object, which `read` restores."""
        return {name: dict(sorted(counts.items())) for name, counts in sorted(vars(self).items())}

    def splits(self, kind: str) -> list[str]:
        """The splits that have records of `kind`."""
        return [split for split in SPLITS if self.records[f"{kind}/{split}"]]
