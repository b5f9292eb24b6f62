"""Index of entries by question, built in the first of two passes over the sources."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...errors import InputError
from ..split import question_id
from .source import Entry, EntrySpan, FailedSearch, Source


class QuestionIndex:
    """The positions of each question's entries, in 48 bytes per entry and about 200 bytes per question.

    It lets the second pass process one question at a time with its entries from all files, and only these in memory.

    Attributes:
        sources: The files.
        counts: For each source, the number of `searches`, `samples`, `failed searches` and `bad entries`.
        models: Number of searches by model.
    """

    def __init__(self, sources: Sequence[Source], *, skip_bad: bool, read: Callable[[int], object]) -> None:
        """Read and index all sources.

        Args:
            sources: The files.
            skip_bad: Count invalid entries instead of raising.
            read: Called after each entry with its length in bytes.

        Raises:
            InputError: An entry is invalid (see `Source.read`).
        """
        self.sources = sources
        self.counts: list[Counter[str]] = [Counter() for _ in sources]
        self.models: Counter[str] = Counter()
        self._groups: dict[bytes, int] = {}
        self._entries = tuple(array("q") for _ in range(5))
        for number, source in enumerate(sources):
            for span in source.spans():
                self._add(number, source, span, skip_bad)
                read(span.length)
        group = np.frombuffer(self._entries[0], np.int64)
        self._order = np.argsort(group, kind="stable")
        self._bounds = np.searchsorted(group[self._order], np.arange(len(self._groups) + 1))

    def __len__(self) -> int:
        """Number of different questions."""
        return len(self._groups)

    def entries(self, question: int) -> Iterator[Entry]:
        """Read the entries of a question, in file order."""
        for entry in self._order[self._bounds[question] : self._bounds[question + 1]]:
            _, source, *span = (int(column[entry]) for column in self._entries)
            found = self.sources[source].read(EntrySpan(*span))
            assert isinstance(found, Entry)
            yield found

    def _add(self, number: int, source: Source, span: EntrySpan, skip_bad: bool) -> None:
        counts = self.counts[number]
        try:
            entry = source.read(span)
        except InputError:
            if not skip_bad:
                raise
            counts["bad entries"] += 1
            return
        if isinstance(entry, FailedSearch):
            counts["failed searches"] += 1
            return
        counts["searches" if entry.is_search else "samples"] += 1
        if entry.model is not None:
            self.models[entry.model] += 1
        group = self._groups.setdefault(bytes.fromhex(question_id(entry.question)), len(self._groups))
        for column, value in zip(self._entries, (group, number, *span), strict=True):
            column.append(value)
