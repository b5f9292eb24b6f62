"""What a value sees of a chain of reasoning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..text.brief import brief_record


@dataclass(frozen=True)
class Trace:
    """A chain of reasoning from the prompt to a node, including that node.

    Attributes:
        question: The question as the user wrote it.
        reference: The right answer, if known.
        text: The text of the chain, including given action prompts and reflections.
        complete: Whether the model ended the chain itself.
        confidences: `[tokens]` fp32, Marco-o1's confidence of each drawn token. Given tokens are left out.
        logprobs: `[tokens]` fp32, log-probability of each drawn token (see `Sampling.logprobs`).
        top_logprobs: `[tokens, k]` fp32, log-probabilities of the `k` most probable tokens at each position, best
            first.
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
        """The answer in the text; empty if there is none."""
        return self.parse(self.text)
