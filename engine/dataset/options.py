"""What a data set is made of and held to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..checking import check_flag, check_integer, check_number, shown
from ..errors import InputError

KINDS = ("sft", "steps", "pairs")
"""Traces for supervised fine-tuning, step values for reward models, preference pairs."""

FORMS = ("as-is", "thought-output")


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """All that the bytes of a data set depend on, besides its sources.

    Attributes:
        kinds: What to make, of `KINDS`.
        form: Form of the traces, of `FORMS`.
        min_characters: Shortest trace.
        max_characters: Longest trace.
        max_repetition: Largest share of repeated runs of words.
        max_foreign: Largest share of words in another script than the question's.
        min_value: Smallest reward; None: any.
        min_confidence: Smallest confidence of the search in its answer.
        min_agreement: Smallest share of the search's rollouts that have the trace's answer.
        keep_wrong: Keep answers that differ from the reference.
        max_similarity: Estimated Jaccard similarity from which two traces are near duplicates; above 1: keep them.
        per_question: Most traces, and most step records, of one question.
        pairs_per_question: Most pairs of one question.
        margin: By how much the chosen one's reward must exceed the rejected one's where no reference decides.
        min_shared: Fewest characters that a pair starts with in common.
        validation: Share of the questions.
        test: Share of the questions.
        seed: Which questions go where.
        skip_bad: Count entries that make no sense instead of stopping at the first.
        tokenizer: Name of the model whose tokens are counted; None leaves tokens out.
        license: For the card.
    """

    kinds: tuple[str, ...] = KINDS
    form: str = "as-is"
    min_characters: int = 20
    max_characters: int = 20_000
    max_repetition: float = 0.2
    max_foreign: float = 0.1
    min_value: float | None = None
    min_confidence: float = 0.0
    min_agreement: float = 0.0
    keep_wrong: bool = False
    max_similarity: float = 0.8
    per_question: int = 4
    pairs_per_question: int = 4
    margin: float = 0.1
    min_shared: int = 1
    validation: float = 0.1
    test: float = 0.0
    seed: int = 0
    skip_bad: bool = False
    tokenizer: str | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            InputError: Names the first that makes no sense.
        """
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise InputError(f"--make {','.join(unknown)}: there are {', '.join(KINDS)}")
        if self.form not in FORMS:
            raise InputError(f"--form {self.form}: there are {', '.join(FORMS)}")
        for name, least in _COUNTS.items():
            self._check(check_integer, name, f"an integer >= {least}", least=least)
        self._check(check_integer, "seed", "a 64-bit integer", least=-(2**63), most=2**63 - 1)
        if self.min_characters > self.max_characters:
            raise InputError(f"no text has {self.min_characters} to {self.max_characters} characters")
        for name, (low, high) in _RANGES.items():
            if getattr(self, name) is not None or name != "min_value":
                self._check(check_number, name, f"a number from {low} to {high}", least=low, most=high)
        check_flag("--keep-wrong", self.keep_wrong), check_flag("--skip-bad", self.skip_bad)
        if self.validation + self.test > 1:
            raise InputError("--validation and --test are more than all questions together")

    def _check(self, check: Callable[..., object], name: str, allowed: str, **rules: float) -> None:
        value = getattr(self, name)
        try:
            check(name, value, allowed, **rules)
        except InputError:
            raise InputError(f"--{name.replace('_', '-')} {shown(value)}: must be {allowed}") from None

    def to_object(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "kinds": list(self.kinds)}


_ANY = (-math.inf, math.inf)
_SHARE = (0, 1)
_RANGES = {
    "max_repetition": _SHARE,
    "max_foreign": _SHARE,
    "min_value": _ANY,
    "min_confidence": _SHARE,
    "min_agreement": _SHARE,
    "max_similarity": (0.1, math.inf),
    "margin": (0, math.inf),
    "validation": _SHARE,
    "test": _SHARE,
}
"""The smallest and the largest value of each number."""

_COUNTS = {"min_characters": 0, "max_characters": 0, "per_question": 1, "pairs_per_question": 1, "min_shared": 0}
"""The smallest value of each count."""
