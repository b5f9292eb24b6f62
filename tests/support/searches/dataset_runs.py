"""Runs of a `DatasetBuilder`, and searches to make a data set of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from marcot.engine.dataset import DatasetBuilder, DatasetOptions
from support.searches.finished_searches import Told, result_line

WORDS = ("eggs", "pens", "cups", "keys", "hats")


def encode(text: str) -> list[int]:
    """A tokenizer with one token per word."""
    return [int.from_bytes(hashlib.sha1(word.encode()).digest()[:4], "little") for word in text.split(" ")]


def searches(count: int, wrong_every: int = 2) -> list[dict[str, Any]]:
    """Searches of different questions, each with two right traces, a wrong one and a truncated one."""
    entries = []
    for number in range(count):
        thing = WORDS[number % len(WORDS)]
        start = f"Lena has {number} {thing} and gets {number + 3} more of the {thing} from Ben in box {number}. "
        entries.append(
            result_line(
                f"How many {thing} has Lena after box {number}?",
                [
                    Told((start, f"That is {2 * number + 3}."), f"{2 * number + 3}", 0.8),
                    Told((start, f"So it is only {number}."), f"{number - 1}", 0.95),
                    Told((f"Counting {thing} {number}: ", f"the sum is {2 * number + 3}."), f"{2 * number + 3}", 0.7),
                    Told((start, "That"), "That", 0.1, "length"),
                ],
                reference=2 * number + 3 if number % wrong_every else None,
            )
        )
    return entries


def make(paths: list[Path], out: Path, options: DatasetOptions | None = None, **more: Any) -> dict[str, bytes]:
    """Make a data set of `paths` at `out`; return its files."""
    DatasetBuilder(paths, out, options or DatasetOptions(), encode).run(**more)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
