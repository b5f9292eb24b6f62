"""Generates word problems that a model with 135M parameters sometimes solves.

python -m bench.training.easy_problems 320 > easy.tsv
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

NAMES = ("Anna", "Ben", "Chen", "Dora", "Emil", "Fatima", "Goran", "Hana", "Ivan", "Jia", "Karim", "Lena")
THINGS = ("apples", "marbles", "stickers", "books", "coins", "pencils", "shells", "cards", "buttons", "stamps")
SEED = 5


def problems(count: int) -> Iterator[tuple[str, int]]:
    """Yield `count` different problems of one or two steps, each with its answer. The seed is fixed."""
    draw = random.Random(SEED)
    seen: set[str] = set()
    while len(seen) < count:
        question, answer = _problem(draw)
        if question not in seen:
            seen.add(question)
            yield question, answer


def _problem(draw: random.Random) -> tuple[str, int]:
    name, other = draw.sample(NAMES, 2)
    things = draw.choice(THINGS)
    a, b, c = draw.randint(11, 40), draw.randint(2, 10), draw.randint(2, 9)
    return draw.choice(
        [
            (f"{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?", a + b),
            (f"{name} has {a} {things} and gives {b} of them to {other}. How many are left?", a - b),
            (f"There are {b} boxes with {c} {things} in each. How many {things} are there in all?", b * c),
            (f"{name} has {a} {things}. {other} has {b} fewer. How many {things} does {other} have?", a - b),
            (
                f"{name} has {a} {things}, finds {b} more and then loses {c}. How many {things} are there now?",
                a + b - c,
            ),
            (
                f"{name} buys {b} bags of {c} {things} and has {a} at home. How many {things} is that together?",
                a + b * c,
            ),
        ]
    )


if __name__ == "__main__":
    for question, answer in problems(int(sys.argv[1])):
        print(f"{question}\t{answer}")
