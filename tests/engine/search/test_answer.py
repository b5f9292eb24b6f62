from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.search import extract_answer, normalise_answer

CLIPS = """To find out how many clips Natalia sold altogether, we add the two months.

1. In April, Natalia sold 48 clips.
2. In May, she sold half as many: \\( \\frac{48}{2} = 24 \\).

So the total is:
\\[ 48 + 24 = 72 \\]
"""

CASES = {
    "boxed in a sentence": (CLIPS + "Therefore, Natalia sold \\(\\boxed{72}\\) clips altogether.", "72"),
    "boxed with a unit": ("Hence \\[ \\boxed{18\\text{ dollars}} \\]", "18\\text{ dollars}"),
    "nested braces": ("So $x = \\boxed{\\frac{3}{\\sqrt{2}}}$.", "\\frac{3}{\\sqrt{2}}"),
    "the last box counts": ("First \\boxed{5}, but no: \\boxed{6}", "6"),
    "an open box is none": ("We get \\boxed{7}. Then \\boxed{8", "7"),
    "an empty box is none": ("The answer is 4. \\boxed{}", "4"),
    "fbox": ("\\fbox{11}", "11"),
    "gsm8k": ("48/2 = 24\n48+24 = 72\n#### 72", "72"),
    "gsm8k with a comma": ("#### 1,080", "1,080"),
    "a heading is no gsm8k mark": ("####\nTotal: 3 + 4 = 7", "7"),
    "the answer is": ("Let us see. The answer is 42.", "42"),
    "the final answer is, in bold": ("**The final answer is: $1,200.50**", "$1,200.50"),
    "answer and colon": ("Some work.\nAnswer: Paris\nThat is all.", "Paris"),
    "bold label": ("**Answer:** 12 apples", "12 apples"),
    "answer on the next line": ("The answer is:\n\n42", "42"),
    "answer in math": ("So the answer is $\\frac{1}{2}$.", "\\frac{1}{2}"),
    "answer to a question": ("The answer to the question is (B).", "B"),
    "clause after it": ("The answer is 15, because 3 * 5 = 15.", "15"),
    "decimal": ("The answer is 3.5.", "3.5"),
    "chinese sentence": ("所以她一共卖了72个。答案是18。", "18"),
    "chinese colon": ("最终答案：72个发夹", "72个发夹"),
    "chinese should be": ("答案应该是 5。谢谢", "5"),
    "marco output": ("<Thought>\nmaybe \\boxed{1}\n</Thought>\n<Output>\nyes\n</Output>", "yes"),
    "marco output with a box": ("<Output>\nSo we get \\boxed{20}.\n</Output>", "20"),
    "marco output of several lines": ("<Output>\n3 + 5 = 8\nShe has 8 apples.\n</Output>", "8"),
    "marco output cut short": ("</Thought>\n<Output>\n33", "33"),
    "last number of the last line": (CLIPS + "Natalia sold 48 + 24 = 72 clips in April and May.", "72"),
    "last equation when the last line is polite": ("In all 48 + 24 = 72.\n\nI hope this helps!", "72"),
    "display math": ("The total is\n\\[\n4 + 5 = 9\n\\]\n", "9"),
    "negative": ("It fell by 3 degrees = -3", "-3"),
    "words alone": ("It rains a lot.\nThe capital is Paris.", "The capital is Paris"),
    "one word": ("yes", "yes"),
    "nothing": ("", ""),
    "blank": (" \n\n", ""),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_extraction(text: str, expected: str) -> None:
    assert extract_answer(text) == expected


SAME = [
    ("1,080", "1080"),
    ("$18", "18"),
    ("\\$18.00", "18"),
    ("18 dollars", "18.0"),
    ("18美元", "18"),
    ("25%", "25"),
    ("25\\%", "25"),
    ("72 clips altogether", "72"),
    ("18\\text{ dollars}", "18"),
    ("１２", "12"),
    ("−4", "-4"),
    ("+4", "4"),
    ("-0", "0"),
    ("007", "7"),
    (".5", "0.50"),
    ("**72**", "72"),
    ("$72$", "72"),
    ("\\(72\\)", "72"),
    ("(B)", "b"),
    ("B.", "b"),
    ('"Paris"', "paris"),
    ("  New   York ", "new york"),
    ("72 kg.", "72"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_same_answers(one: str, other: str) -> None:
    assert normalise_answer(one) == normalise_answer(other)


DIFFERENT = [
    ("72", "7.2"),
    ("1/2", "1"),
    ("1/2", "2"),
    ("-3", "3"),
    ("1,08", "108"),
    ("3 + 4", "3"),
    ("12:30", "12"),
    ("(1, 2)", "(1, 3)"),
    ("\\frac{1}{2}", "\\frac{1}{3}"),
    ("A", "B"),
    ("yes", "no"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_answers(one: str, other: str) -> None:
    assert normalise_answer(one) != normalise_answer(other)


@given(st.text(max_size=200))
def test_any_text_has_an_answer_and_a_key(text: str) -> None:
    normalise_answer(extract_answer(text))


@given(st.integers(-(10**12), 10**12))
def test_numbers_survive_any_spelling(number: int) -> None:
    key = normalise_answer(str(number))
    assert key == normalise_answer(f"{number:,}") == normalise_answer(f"{number}.00") == str(number)
    assert normalise_answer(extract_answer(f"Thus we get \\[ \\boxed{{{number:,}}} \\] in all.")) == key
