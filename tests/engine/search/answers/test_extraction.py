"""Where the answer is found in the text of a chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.search import answers_agree, extract_answer, reference_answer
from marcot.engine.search.rollout.reflection import REFLECTION

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


MORE_CASES = {
    "two boxes, one answer": ("So $\\boxed{3}$ or $\\boxed{-3}$.", "3, -3"),
    "the same box twice": ("$\\boxed{5}$, and $\\boxed{5}$.", "5"),
    "three boxes": ("We find \\boxed{1}, \\boxed{2}, and \\boxed{4}.", "1, 2, 4"),
    "an escaped brace is none": ("\\boxed{\\left\\{ 1, 2 \\right.}", "\\left\\{ 1, 2 \\right."),
    "a box in an open one": ("\\boxed{8 and \\boxed{7}", "7"),
    "a box without braces": ("Thus $\\boxed 72$.", "72"),
    "a list after the phrase": ("The answer is 19, 46, and 82.", "19, 46, and 82"),
    "an explanation after it": ("The answer is 72, in total, so she can go home.", "72"),
    "a tuple": ("The answer is (3, 4).", "(3, 4)"),
    "a power is no emphasis": ("The answer is 2**5.", "2^5"),
    "display math after the phrase": ("The answer is:\n\\[\n72\n\\]\nGood bye!", "72"),
    "a heading": ("3 + 4 = 7\n\n**Final Answer**\n\n7 apples\n\nI am done.", "7 apples"),
    "headings with four hashes": ("#### Step 1: add 3 and 4\n\nThat is 7 apples.", "7"),
    "hashes before a number": ("#### 72\nDone.", "72"),
    "a fraction keeps its sign": ("The slope of this line is -3/4.", "-3/4"),
    "an en dash is a sign": ("So we end at –7 degrees.", "–7"),
    "a mixed number": ("He uses 2 1/4 cups.", "2 1/4"),
    "thousands apart": ("So there are 41 250 seats.", "41 250"),
    "thousands in TeX": ("So there are $41{,}250$ seats.", "41{,}250"),
    "a year before a number is none": ("In 2020 300 people came.", "300"),
    "a scale": ("It costs 3 million dollars.", "3 million"),
    "a Chinese scale": ("一共要花3万元。", "3万"),
    "a formula": ("So the sum is 3x + 5.", "3x + 5"),
    "a formula on one side": ("So f(x) = 2x - 7.", "2x - 7"),
    "a tuple in prose": ("The point that we want is $(3, 4)$.", "(3, 4)"),
    "a root in prose": ("Its length is \\(2\\sqrt{3}\\).", "2\\sqrt{3}"),
    "emphasis in prose": ("Altogether there are **7** apples.", "7"),
    "a ratio": ("So the ratio is 3:5.", "3:5"),
    "a time": ("It is 4:30 pm.", "4:30 pm"),
    "no power of a unit": ("Its area is 15 cm^2.", "15"),
    "no remark in brackets": ("There are 12 of them (since 3 * 4 = 12).", "12"),
    "several answers": ("The answers are 3 and 5.", "3 and 5"),
    "an adverb": ("The answer is therefore 5.", "5"),
    "a hyphen is no sign": ("He takes Route-66.", "66"),
}


@pytest.mark.parametrize(("text", "expected"), MORE_CASES.values(), ids=MORE_CASES.keys())
def test_extraction_with_care(text: str, expected: str) -> None:
    assert extract_answer(text) == expected


THOUGHTS = {
    "a box in a thought": ("<think>Is it \\boxed{5}? No.</think>\n\nShe has 7 apples.", "7"),
    "only the closing tag": ("It is \\boxed{5}. Wait.\n</think>\n\nShe has **7** apples.", "7"),
    "Marco-o1": ("<Thought>The answer is 5.</Thought>\n<Output>7</Output>", "7"),
    "several thoughts": ("<think>\\boxed{1}</think>2<think>\\boxed{3}</think>So 4.", "4"),
    "nothing follows": ("<think>So it is \\boxed{5}.</think>\n", "5"),
    "nothing but a tag follows": ("So it is \\boxed{5}.</think>\n<|im_end|>", "5"),
    "a thought that does not end is a guess": ("<think>Maybe \\boxed{5}. Or", "5"),
    "after a reflection": (f"\\boxed{{5}}\n\n{REFLECTION} It is 6.", "6"),
    "a reflection within the thought": (f"\\boxed{{5}}\n\n{REFLECTION} \\boxed{{6}}</think>It is 7.", "7"),
}


@pytest.mark.parametrize(("text", "expected"), THOUGHTS.values(), ids=THOUGHTS.keys())
def test_the_thought_is_not_the_answer(text: str, expected: str) -> None:
    assert extract_answer(text) == expected


REFERENCES = {
    "GSM8K": ("48/2 = 24\n48 + 24 = 72\n#### 72", "72"),
    "MATH": ("Since $x = 2$, we get $\\boxed{\\frac{3}{4}}$ as $y = 4$.", "\\frac{3}{4}"),
    "a sentence": ("It has 3 + 5 legs. The answer is 8.", "8"),
    "Marco-o1": ("<Thought>3 + 5</Thought><Output>8</Output>", "8"),
}


@pytest.mark.parametrize(("reference", "expected"), REFERENCES.values(), ids=REFERENCES.keys())
def test_a_solution_is_searched(reference: str, expected: str) -> None:
    assert reference_answer(reference) == expected


@pytest.mark.parametrize(
    "reference",
    [
        "\\frac{3}{4}",
        "10:30",
        "-1/2",
        "(3, 4)",
        "2\\sqrt{3}",
        "9 (apples)",
        "x = 5",
        "the 4th of July",
        "5 + 3 = 8",
        "",
    ],
)
def test_a_value_is_the_answer(reference: str) -> None:
    assert reference_answer(f" {reference}\n") == reference


LONG = [
    *(
        "\\boxed{",
        "\\boxed{ ",
        "answer is ",
        "answer to ",
        "the answer:\n**",
        "#### x\n",
        "9",
        "9,999,",
        "12 500 ",
        "(",
    ),
    *(
        "<think>",
        "</think>",
        "<output>",
        "**a ",
        "= ",
        "答案是",
        "\\(",
        "$x",
        "\\frac{1}{2}",
        "-",
        "{",
        "}",
        " \n",
        "<a",
    ),
]


@pytest.mark.parametrize("part", LONG)
def test_a_megabyte_of_anything_ends(part: str) -> None:
    text = part * (1_000_000 // len(part))
    assert not answers_agree(extract_answer(text), "something else")
    assert not answers_agree("something else", text)


def test_a_megabyte_of_boxes_in_boxes_ends() -> None:
    assert extract_answer("\\boxed{" * 100_000 + "5" + "}" * 100_000) == "5"


@given(st.text(max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    assert isinstance(extract_answer(text), str)
    assert isinstance(reference_answer(text), str)
