"""The MGSM questions that come with the package."""

from __future__ import annotations

import pytest
from marcot.engine.evaluation import INSTRUCTIONS, problems
from marcot.engine.search import normalise_answer


def test_every_language_asks_the_same_250_questions() -> None:
    answers = {language: [normalise_answer(each.answer) for each in problems(language)] for language in INSTRUCTIONS}
    assert len(answers["en"]) == 250
    assert answers["en"] == answers["zh"]
    assert all(answer.lstrip("-").replace(".", "").isdigit() for answer in answers["en"])


@pytest.mark.parametrize("language", INSTRUCTIONS)
def test_questions_are_numbered_and_different(language: str) -> None:
    found = problems(language)
    assert [each.number for each in found] == list(range(250))
    assert len({each.question for each in found}) == 250
    assert all(each.question.strip() for each in found)
