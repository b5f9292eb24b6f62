"""The view of a chain of reasoning that a value gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..text.brief import brief_record


@dataclass(frozen=True)
class Trace:
    """Everything from the prompt to a state, that state included.

    Attributes:
        question: The question as the user wrote it.
        reference: Its right answer, where that is known.
        text: What was written, prompts and reflections that were given included.
        complete: Whether the model ended it itself.
        confidences: `[tokens]` fp32, Marco-o1's confidence of each drawn token. Given tokens are left out.
        logprobs: `[tokens]` fp32, their raw log-probabilities.
        top_logprobs: `[tokens, k]` fp32, those of the `k` most probable tokens at each position, best first.
        parse: Finds the answer in a text.
    """

    question: str
    reference: str | None
    text: str
    complete: bool
    confidences: NDArray[np.float32]
    logprobs: NDArray[np.float32]
    top_logprobs: NDArray[np.float32]
    parse: Callable[[str], str]

    def __repr__(self) -> str:
        return brief_record(self, "question", "reference", "text", "complete", "confidences", "top_logprobs")

    @cached_property
    def answer(self) -> str:
        """The answer in its text; empty if there is none."""
        return self.parse(self.text)
