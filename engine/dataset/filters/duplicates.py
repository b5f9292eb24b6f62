"""Texts that are in the data set already, exactly or nearly.

Near duplicates by MinHash over runs of words (Broder, "On the resemblance and containment of documents", 1997), looked
up by bands of the signature (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4).
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
"""Words of a run."""

HASHES = 64
"""Of a signature: the similarity is estimated with a standard error of at most 1 / (2 sqrt(64)) = 0.06."""

BANDS = 16
"""Each of 4 hashes: texts of similarity 0.8 meet in one with a probability of 1 - (1 - 0.8^4)^16 = 0.9998."""

KEY_WORDS = 2
ROW_BYTES = 4 * (KEY_WORDS + HASHES)
"""A remembered text: 64 bits that tell exact duplicates, and the signature."""

Row = NDArray[np.uint32]


class Duplicate(Enum):
    """In which way a text is in the data set already."""

    EXACT = "exact duplicate"
    NEAR = "near duplicate"


class DuplicateIndex:
    """The texts so far, as rows of 66 uint32; with all that finds them, about 1 kB each."""

    def __init__(self, similarity: float) -> None:
        """Call texts from an estimated Jaccard `similarity` on near duplicates."""
        self._similarity = similarity
        self._rows = np.empty((64, KEY_WORDS + HASHES), np.uint32)
        self._count = 0
        self._bands = _BandTable()

    def find(self, row: Row) -> Duplicate | None:
        """How the text of `row` is there already; None if it is new."""
        met = sorted({other for band in _bands(row) for other in self._bands.rows(band)})
        if not met:
            return None
        others = self._rows[met]
        if bool((others[:, :KEY_WORDS] == row[:KEY_WORDS]).all(axis=1).any()):
            return Duplicate.EXACT
        similarity = float((others[:, KEY_WORDS:] == row[KEY_WORDS:]).mean(axis=1).max())
        return Duplicate.NEAR if similarity >= self._similarity else None

    def add(self, row: Row) -> None:
        """Remember a text."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        for band in _bands(row):
            self._bands.add(band, self._count)
        self._count += 1


class _BandTable:
    """Which rows have a band: a hash table in two flat arrays, as dictionaries of Python objects take 3 kB a row.

    A band is looked up by 64 bits; `DuplicateIndex` compares whole signatures, so that a collision costs time only.
    """

    def __init__(self) -> None:
        self._slots = array("q", [-1]) * 1024
        self._keys = array("Q")
        self._rows = array("q")
        self._earlier = array("q")

    def rows(self, band: int) -> Iterator[int]:
        """The rows with `band`, the latest first."""
        entry = self._slots[self._slot(band)]
        while entry >= 0:
            yield self._rows[entry]
            entry = self._earlier[entry]

    def add(self, band: int, row: int) -> None:
        """Note that `row` has `band`."""
        if 2 * len(self._keys) >= len(self._slots):
            self._grow()
        slot = self._slot(band)
        self._earlier.append(self._slots[slot])
        self._slots[slot] = len(self._keys)
        self._keys.append(band)
        self._rows.append(row)

    def _slot(self, band: int) -> int:
        """Where the latest entry of `band` is, or would be."""
        slot = band % len(self._slots)
        while (entry := self._slots[slot]) >= 0 and self._keys[entry] != band:
            slot = (slot + 1) % len(self._slots)
        return slot

    def _grow(self) -> None:
        self._slots = array("q", [-1]) * (2 * len(self._slots))
        for entry, band in enumerate(self._keys):
            self._slots[self._slot(band)] = entry


def signature_row(text: str) -> Row:
    """What is remembered of `text`: `[66] uint32`."""
    key = np.frombuffer(exact_key(text), np.uint32)
    words = split_words(text)
    runs = {" ".join(words[start : start + SHINGLE]) for start in range(max(len(words) - SHINGLE + 1, 1))}
    hashes = np.array([int.from_bytes(_digest(run), "little") for run in sorted(runs)], np.uint64)
    return np.concatenate([key, (hashes[:, None] * _FACTORS + _TERMS >> np.uint64(32)).astype(np.uint32).min(axis=0)])


def exact_key(text: str) -> bytes:
    """8 bytes that are equal for texts that are the same after normalisation."""
    return _digest(normalised(text))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4 * KEY_WORDS).digest()


def _bands(row: Row) -> list[int]:
    """Each of the 16 bands in 64 bits."""
    bands = row[KEY_WORDS:].reshape(BANDS, -1).astype(np.uint64)
    mixed = np.arange(1, BANDS + 1, dtype=np.uint64)
    for column in bands.T:
        mixed = (mixed ^ column) * _MIXER
        mixed ^= mixed >> np.uint64(29)
    return [int(band) for band in mixed]


def _constants(name: str) -> NDArray[np.uint64]:
    """64 fixed odd numbers: with them, (factor x + term) >> 32 is a family of hash functions (multiply-shift)."""
    numbers = [int.from_bytes(_digest(f"{name} {index}"), "little") | 1 for index in range(HASHES)]
    return np.array(numbers, np.uint64)


_FACTORS = _constants("factor")
_TERMS = _constants("term")
_MIXER = _constants("mixer")[0]
