"""Counts how the questions of a run ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..outcome import Outcome
from .json_form import is_correct
from .question_file import InputQuestion


@dataclass(slots=True)
class OutcomeTally:
    """Counts outcomes.

    Attributes:
        skipped: Questions that had a result before the run.
        finished: Questions with a result.
        failed: Questions with an error.
        rated: Results with a reference answer.
        right: Results that agree with the reference.
        exit_code: The exit code of the first error, or 0.
    """

    skipped: int = 0
    finished: int = 0
    failed: int = 0
    rated: int = 0
    right: int = 0
    exit_code: int = 0

    def count(self, question: InputQuestion, outcome: Outcome) -> None:
        """Add an outcome."""
        if outcome.result is None:
            self.failed += 1
            if outcome.error is not None:
                self.exit_code = self.exit_code or outcome.error.exit_code
            return
        self.finished += 1
        correct = is_correct(question, outcome.result)
        if correct is not None:
            self.rated += 1
            self.right += correct

    def __str__(self) -> str:
        parts = [f"{self.finished} questions finished"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.rated:
            parts.append(f"{self.right} of {self.rated} right ({self.right / self.rated:.1%})")
        return ", ".join(parts)
