"""The options of a data set: what goes in, and the limits of its filters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..checking import check_flag, check_integer, check_number, shown
from ..errors import InputError

KINDS = ("sft", "steps", "pairs")
"""Kinds of records: traces for supervised fine-tuning, step values for reward models, preference pairs."""

FORMS = ("as-is", "thought-output")


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """Everything that the bytes of a data set depend on, except its sources.

    Attributes:
        kinds: Which kinds of records to write, from `KINDS`.
        form: Format of the traces, one of `FORMS`.
        min_characters: Shortest trace.
        max_characters: Longest trace.
        max_repetition: Largest share of repeated runs of words.
        max_foreign: Largest share of words in another script than the question's.
        min_value: Smallest reward; None for no limit.
        min_confidence: Smallest confidence of the search in its answer.
        min_agreement: Smallest share of the search's rollouts that have the trace's answer.
        keep_wrong: Keep answers that differ from the reference.
        max_similarity: Two traces are near duplicates at this estimated Jaccard similarity or more; above 1 keeps them.
        per_question: Maximum number of traces, and of step records, per question.
        pairs_per_question: Maximum number of pairs per question.
        margin: Without a reference, the chosen trace's reward must exceed the rejected one's by at least this much.
        min_shared: Minimum length of the common prefix of a pair, in characters.
        validation: Share of the questions that go to the validation split.
        test: Share of the questions that go to the test split.
        seed: Seed of the assignment of questions to splits.
        skip_bad: Skip and count invalid entries instead of stopping at the first one.
        tokenizer: Name of the model whose tokenizer counts tokens; None counts no tokens.
        license: Licence that the card states.
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
        """Check the options.

        Raises:
            InputError: An option is invalid; the message names the first one.
        """
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise InputError(f"--make {','.join(unknown)}: the kinds are {', '.join(KINDS)}")
        if self.form not in FORMS:
            raise InputError(f"--form {self.form}: the forms are {', '.join(FORMS)}")
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
            raise InputError("--validation and --test add up to more than all questions")

    def _check(self, check: Callable[..., object], name: str, allowed: str, **rules: float) -> None:
        value = getattr(self, name)
        try:
            check(name, value, allowed, **rules)
        except InputError:
            raise InputError(f"--{name.replace('_', '-')} {shown(value)}: must be {allowed}") from None

    def to_object(self) -> dict[str, Any]:
        """The options as a JSON object."""
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
