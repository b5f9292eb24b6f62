"""Which entries are about the same question: the first of two passes over the sources."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...errors import InputError
from ..split import question_id
from .source import Entry, EntrySpan, FailedSearch, Source


class QuestionIndex:
    """Where the entries of each question are, in 48 bytes per entry and about 200 per question.

    With it, a question is looked at once, with all that any file says about it, and only its entries are in memory.

    Attributes:
        sources: The files.
        counts: Of entries: `searches`, `samples`, `failed searches`, `bad entries`; per source.
        models: Those that were searched with.
    """

    def __init__(self, sources: Sequence[Source], *, skip_bad: bool, read: Callable[[int], object]) -> None:
        """Read all of them.

        Args:
            sources: Files.
            skip_bad: Count what makes no sense instead of raising.
            read: Called with the number of bytes after each entry.

        Raises:
            InputError: As `Source.read`.
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
        """How many questions there are."""
        return len(self._groups)

    def entries(self, question: int) -> Iterator[Entry]:
        """Read the entries of a question, in the order of the files."""
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
