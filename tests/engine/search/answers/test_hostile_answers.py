"""Texts that would make a pattern backtrack for ever, or that are not numbers. A bad pattern hangs here."""

from __future__ import annotations

import numpy as np
import pytest
from marcot.engine.dataset.thought_output import parse_thought_output
from marcot.engine.search.actions.step import Step
from marcot.engine.search.answers import answers_agree, extract_answer, normalise_answer, reference_answer
from marcot.engine.view.formulas import find_formulas

SIZE = 100_000

HOSTILE = {
    "blanks": "=" + " " * SIZE,
    "blanks between numbers": "2 =" + " " * SIZE + "3",
    "tuple without an end": "So 1 = \n(" + "0" * SIZE,
    "numbers without an end": "(1,000" + "1,000" * (SIZE // 5),
    "remark without an end": "It is 1 (" + "a" * SIZE,
    "boxes in boxes": "\\boxed{" * (SIZE // 7),
    "boxes with words in them": "\\boxed{abc " * (SIZE // 11) + "}" * (SIZE // 11),
    "boxes of blanks": "\\boxed{ }" * (SIZE // 9),
    "hashes": "#### a\n" * (SIZE // 7),
    "marks": "<Output>" * (SIZE // 8) + "</Output>" * (SIZE // 9),
    "thoughts": "</Thought><Output>" * 3000 + "</Output>x" * 3000,
    "announcements": "the answer to " * (SIZE // 14),
    "bold": "**a " * (SIZE // 4),
    "dollars": "$a" * (SIZE // 2),
    "braces": "{" * SIZE,
    "step marks": "\n#" * (SIZE // 2),
    "digits": "9" * SIZE,
    "signs": "-" * SIZE + "1",
    "fractions": "\\frac{" * (SIZE // 6),
    "commas": "1," * (SIZE // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_long(name: str) -> None:
    text = HOSTILE[name]
    for part in (text, text[:1900], text[:990], text[-990:]):
        answer = extract_answer(part)
        assert answers_agree(answer, part) in (True, False)
        assert reference_answer(part) in part
        assert normalise_answer(part) == normalise_answer(part)
        assert parse_thought_output(part) is None
        assert all(formula.end <= len(part) for formula in find_formulas(part))
    ends = Step().cut(list(map(ord, text)), lambda ids: "".join(map(chr, ids)), np.ones(len(text), np.float32))
    assert ends[-1] == len(text)


@pytest.mark.parametrize(
    "number", ["1/0", "0/0", "-7/000", "1e999999999", "9" * 999, "1/" + "9" * 900, "10^10^10", "∞"]
)
@pytest.mark.parametrize("percentage", ["50%", "1e999%", "0%"])
def test_no_number_is_an_error(number: str, percentage: str) -> None:
    assert not answers_agree(number, percentage)
    assert not answers_agree(percentage, number)
    assert answers_agree(number, number)
