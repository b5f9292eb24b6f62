"""Questions with reference answers, by name or from a file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..results.question_file import InputQuestion, read_questions
from ..search import Question
from ..search.question import QuestionLike, one_or_many
from .mgsm import INSTRUCTIONS, problems
from .question_range import QuestionRange
from .series import Series

_MGSM = "mgsm"
_MGSM_NAME = re.compile(rf"{_MGSM}[:-](\w+)")
_RANGE = re.compile(r"[\d,\s-]+")


@dataclass(frozen=True, slots=True)
class DataSet:
    """Questions to evaluate on.

    Attributes:
        name: Name in the results: `mgsm:en`, `mgsm:zh`, a file name, or a name that the caller chose.
        instruction: Text appended to each question by default.
        questions: The questions, each with a reference.
    """

    name: str
    instruction: str
    questions: Sequence[InputQuestion]

    @classmethod
    def of(cls, questions: QuestionLike | Iterable[QuestionLike], name: str = "questions") -> DataSet:
        """Make a data set from the caller's own questions.

        Args:
            questions: `Question`s with references, or objects with `question` and `answer`; or a single one.
            name: Name of the data set in the results.

        Raises:
            InputError: There are no questions, or one is invalid or has no answer; the message says which.
        """
        kept = []
        for index, each in enumerate(one_or_many(questions)):
            text, reference = Question.of(each)
            if not text.strip():
                raise InputError(f"question {index + 1} is empty")
            if reference is None or not reference.strip():
                raise InputError(f"question {index + 1} has no answer to compare with: give Question(text, reference)")
            kept.append(InputQuestion(index, text.strip(), {"answer": reference}))
        if not kept:
            raise InputError("there are no questions")
        return cls(name, "", kept)

    @classmethod
    def named(cls, text: str, chosen: str | None = None) -> DataSet:
        """Open `mgsm:en`, `mgsm:zh` or a file of questions, optionally followed by `:RANGE`.

        Args:
            text: The name as typed.
            chosen: A range, if `text` has none: numbers from 1 and ranges of them, such as `1-64,100`.

        Raises:
            InputError: There is no such data set, a question has no reference answer, or the range is invalid.
        """
        name, colon, range = text.rpartition(":")
        if not (colon and _RANGE.fullmatch(range)):
            name, range = text, ""
        if range and chosen:
            raise InputError(f"give the questions either in --input {text} or in --questions {chosen}")
        known = ", ".join(f"{_MGSM}:{each}" for each in INSTRUCTIONS)
        if match := _MGSM_NAME.fullmatch(name):
            language = match[1]
            if language not in INSTRUCTIONS:
                raise InputError(f"data {text!r}: the data sets are {known}")
            questions = [
                InputQuestion(each.number, each.question, {"answer": each.answer}) for each in problems(language)
            ]
            whole = cls(f"{_MGSM}:{language}", INSTRUCTIONS[language], questions)
        else:
            path = Path(name)
            if not path.suffix:
                raise InputError(f"data {text!r}: must be {known} or a file (.jsonl, .csv, .parquet or .tsv)")
            whole = cls(path.name, "", read_questions(path))
            for question in whole.questions:
                if question.reference is None:
                    raise InputError(
                        f"{path}: question {question.index + 1} has no answer to compare with: give it one under "
                        "'answer' (in a .tsv file, in the second column)"
                    )
        wanted = QuestionRange.parse(range or chosen or "1-")
        wanted.check(len(whole.questions))
        return cls(whole.name, whole.instruction, [each for each in whole.questions if each.index + 1 in wanted])

    def identity(self, question: InputQuestion) -> str:
        """Key of `question` in the results: data set, number, and a hash of the text to tell it from changed ones."""
        digest = hashlib.blake2b(question.text.encode(errors="backslashreplace"), digest_size=4).hexdigest()
        return f"{self.name}:{question.index + 1}:{digest}"

    def wrong_in(self, series: Iterable[Series]) -> DataSet:
        """The data set reduced to questions that at least one of `series` answered wrongly.

        Raises:
            InputError: No question was answered wrongly.
        """
        wrong = {key for each in series for key, trial in each.trials.items() if not trial.correct}
        questions = [question for question in self.questions if self.identity(question) in wrong]
        if not questions:
            raise InputError(f"--only-wrong: none of the chosen questions of {self.name} has a wrong answer there")
        return DataSet(self.name, self.instruction, questions)
