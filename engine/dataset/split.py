"""Which questions are for training, and which are held out."""

from __future__ import annotations

import hashlib

from .filters.words import normalised

SPLITS = ("train", "validation", "test")


def question_id(question: str) -> str:
    """16 hexadecimal digits that are equal for questions that differ in case and space only."""
    return hashlib.blake2b(normalised(question).encode(errors="surrogatepass"), digest_size=8).hexdigest()


def assign_split(question_id: str, *, validation: float, test: float, seed: int) -> str:
    """The split of a question: by a hash, so it stays there whatever else the data set holds.

    Args:
        question_id: As `question_id` gives it.
        validation: Share of the questions.
        test: Share of the questions.
        seed: Another one is another assignment.
    """
    digest = hashlib.blake2b(f"{seed} {question_id}".encode(), digest_size=8).digest()
    point = int.from_bytes(digest, "little") / 2**64
    if point < test:
        return "test"
    return "validation" if point < test + validation else "train"
