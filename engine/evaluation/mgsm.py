"""MGSM (arXiv 2210.03057): grade-school maths word problems in several languages; English and Chinese are included."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ..search.rollout.instruction import DEFAULT_INSTRUCTION

_DATA = Path(__file__).parent / "data"

INSTRUCTIONS = MappingProxyType(
    {
        "en": DEFAULT_INSTRUCTION,
        "zh": "请逐步推理，并把最终答案放在 \\boxed{} 中。",
    }
)
"""The text appended to each question, by language."""


class Problem(NamedTuple):
    """A question with its answer.

    Attributes:
        number: Number of its line in the file, from 0.
        question: The text of the problem.
        answer: The right answer, a number.
    """

    number: int
    question: str
    answer: str


def problems(language: str) -> list[Problem]:
    """All 250 problems in `language`, one of `INSTRUCTIONS`."""
    lines = (_DATA / f"mgsm_{language}.tsv").read_text(encoding="utf-8").strip("\n").split("\n")
    return [Problem(number, *line.split("\t")) for number, line in enumerate(lines)]
