"""The split of questions into training, validation and test."""

from __future__ import annotations

import hashlib

from .filters.words import normalised

SPLITS = ("train", "validation", "test")


def question_id(question: str) -> str:
    """16 hexadecimal digits that identify a question, regardless of case, whitespace and Unicode variants."""
    return hashlib.blake2b(normalised(question).encode(errors="surrogatepass"), digest_size=8).hexdigest()


def assign_split(question_id: str, *, validation: float, test: float, seed: int) -> str:
    """Choose the split of a question by a hash, so that it does not depend on the other questions.

    Args:
        question_id: The id returned by `question_id`.
        validation: Share of the questions that go to the validation split.
        test: Share of the questions that go to the test split.
        seed: Seed of the hash.
    """
    digest = hashlib.blake2b(f"{seed} {question_id}".encode(), digest_size=8).digest()
    point = int.from_bytes(digest, "little") / 2**64
    if point < test:
        return "test"
    return "validation" if point < test + validation else "train"
