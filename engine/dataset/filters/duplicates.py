"""Detection of exact and near duplicates among the texts of a data set.

Near duplicates are found by MinHash over runs of words (Broder, "On the resemblance and containment of documents",
1997), and looked up by bands of the signature (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from .words import normalised, split_words

SHINGLE = 5
"""Number of words in a run."""

HASHES = 64
"""Hashes in a signature: they estimate the similarity with a standard error of at most 1 / (2 sqrt(64)) = 0.06."""

BANDS = 16
"""Bands of 4 hashes each: texts of similarity 0.8 share one with probability 1 - (1 - 0.8^4)^16 = 0.9998."""

KEY_WORDS = 2
ROW_BYTES = 4 * (KEY_WORDS + HASHES)
"""Bytes stored for a text: a 64-bit hash for exact duplicates, and the signature."""

Row = NDArray[np.uint32]


class Duplicate(Enum):
    """How a text duplicates one in the data set."""

    EXACT = "exact duplicate"
    NEAR = "near duplicate"


class DuplicateIndex:
    """An index of the texts so far, each a row of 66 uint32; about 1 kB per text including the lookup tables."""

    def __init__(self, similarity: float) -> None:
        """Create an empty index.

        Args:
            similarity: Texts whose estimated Jaccard similarity is at least this are near duplicates.
        """
        self._similarity = similarity
        self._rows = np.empty((64, KEY_WORDS + HASHES), np.uint32)
        self._count = 0
        self._bands = _BandTable()

    def find(self, row: Row) -> Duplicate | None:
        """How the text of `row` duplicates an earlier one; None if it is new."""
        met = sorted({other for band in _bands(row) for other in self._bands.rows(band)})
        if not met:
            return None
        others = self._rows[met]
        if bool((others[:, :KEY_WORDS] == row[:KEY_WORDS]).all(axis=1).any()):
            return Duplicate.EXACT
        similarity = float((others[:, KEY_WORDS:] == row[KEY_WORDS:]).mean(axis=1).max())
        return Duplicate.NEAR if similarity >= self._similarity else None

    def add(self, row: Row) -> None:
        """Add the text of `row` to the index."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        for band in _bands(row):
            self._bands.add(band, self._count)
        self._count += 1


class _BandTable:
    """Hash table from bands to rows, in flat arrays because dictionaries of Python objects take 3 kB per row.

    A band is looked up by its 64-bit hash. `DuplicateIndex` compares whole signatures, so a collision only costs time.
    """

    def __init__(self) -> None:
        self._slots = array("q", [-1]) * 1024
        self._keys = array("Q")
        self._rows = array("q")
        self._earlier = array("q")

    def rows(self, band: int) -> Iterator[int]:
        """The rows that have `band`, latest first."""
        entry = self._slots[self._slot(band)]
        while entry >= 0:
            yield self._rows[entry]
            entry = self._earlier[entry]

    def add(self, band: int, row: int) -> None:
        """Record that `row` has `band`."""
        if 2 * len(self._keys) >= len(self._slots):
            self._grow()
        slot = self._slot(band)
        self._earlier.append(self._slots[slot])
        self._slots[slot] = len(self._keys)
        self._keys.append(band)
        self._rows.append(row)

    def _slot(self, band: int) -> int:
        """The slot that holds the latest entry of `band`, or would hold it."""
        slot = band % len(self._slots)
        while (entry := self._slots[slot]) >= 0 and self._keys[entry] != band:
            slot = (slot + 1) % len(self._slots)
        return slot

    def _grow(self) -> None:
        self._slots = array("q", [-1]) * (2 * len(self._slots))
        for entry, band in enumerate(self._keys):
            self._slots[self._slot(band)] = entry


def signature_row(text: str) -> Row:
    """The row that the index stores for `text`: exact key and MinHash signature, `[66] uint32`."""
    key = np.frombuffer(exact_key(text), np.uint32)
    words = split_words(text)
    runs = {" ".join(words[start : start + SHINGLE]) for start in range(max(len(words) - SHINGLE + 1, 1))}
    hashes = np.array([int.from_bytes(_digest(run), "little") for run in sorted(runs)], np.uint64)
    return np.concatenate([key, (hashes[:, None] * _FACTORS + _TERMS >> np.uint64(32)).astype(np.uint32).min(axis=0)])


def exact_key(text: str) -> bytes:
    """8-byte hash of the normalised text."""
    return _digest(normalised(text))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4 * KEY_WORDS).digest()


def _bands(row: Row) -> list[int]:
    """A 64-bit hash of each of the 16 bands."""
    bands = row[KEY_WORDS:].reshape(BANDS, -1).astype(np.uint64)
    mixed = np.arange(1, BANDS + 1, dtype=np.uint64)
    for column in bands.T:
        mixed = (mixed ^ column) * _MIXER
        mixed ^= mixed >> np.uint64(29)
    return [int(band) for band in mixed]


def _constants(name: str) -> NDArray[np.uint64]:
    """64 fixed odd numbers: factors or terms of the hash functions (factor x + term) >> 32 (multiply-shift)."""
    numbers = [int.from_bytes(_digest(f"{name} {index}"), "little") | 1 for index in range(HASHES)]
    return np.array(numbers, np.uint64)


_FACTORS = _constants("factor")
_TERMS = _constants("term")
_MIXER = _constants("mixer")[0]
