"""Whether an answer is right, also compared with math-verify."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.search import answers_agree, extract_answer, normalise_answer
from marcot.engine.search.answers import known_reference
from math_verify import parse, verify

VALUES = [
    *(
        "\\frac{3}{5}",
        "3/4",
        "3",
        "4",
        "5",
        "-3/4",
        "-3",
        "10:30",
        "30",
        "1:30",
        "2\\sqrt{5}",
        "\\sqrt{5}",
        "2",
        "-2",
        "7",
    ),
    *(
        "(3, 4)",
        "(4, 3)",
        "[3, 4]",
        "\\{5, 7\\}",
        "x^2 - 2x + 4",
        "x^2 - 2x - 4",
        "\\frac{\\pi}{6}",
        "\\pi",
        "6",
        "8 (books)",
    ),
    *(
        "400",
        "1,200",
        "x > 3",
        "y < 3",
        "2^{40}",
        "2^{41}",
        "\\text{odd}",
        "even",
        "\\text{(D)}",
        "E",
        "黄色",
        "y = 2x + 3",
    ),
    *(
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\begin{pmatrix}2\\\\1\\end{pmatrix}",
        "x = 9",
        "\\infty",
        "all real numbers",
    ),
    *(
        "5x",
        "5y",
        "7i",
        "3 million",
        "60^\\circ 30'",
        "\\frac{x^2}{4} + y^2 = 1",
        "\\frac{x^2}{4} - y^2 = 1",
        "no solution",
    ),
    *(
        "1 + 3\\sqrt{2}",
        "1 - 3\\sqrt{2}",
        "C_{10}^{3}",
        "a \\ne 1",
        "5.2 \\times 10^{11}",
        "10%",
        "$\\frac{1}{8}$ or $2$",
    ),
]


@pytest.mark.parametrize("reference", VALUES)
def test_a_value_agrees_with_itself_and_no_other(reference: str) -> None:
    assert answers_agree(reference, reference)
    boxed = extract_answer(f"So we find that \\boxed{{{reference}}}.")
    assert [each for each in VALUES if answers_agree(boxed, each)] == [reference]


AGREEING = {
    "a solution of GSM8K": ("$8.00", "First 3, then 5: 3 + 5 = 8\n#### 8"),
    "a solution of MATH": ("0.75", "Thus it is $\\boxed{\\dfrac{3}{4}}$."),
    "percent and its number": ("0.12", "12%"),
    "a number and its percent": ("12\\%", "0.12"),
    "an equation turned round": ("2x - y + 3 = 0", "y = 2x + 3"),
    "names and a tuple": ("x = 3, y = 4", "(3, 4)"),
    "a tuple and names": ("(3, 4)", "x = 3 \\text{ and } y = 4"),
    "a letter that may be a unit": ("100 m", "100"),
    "a factor that looks like a unit": ("2m", "2 m"),
    "y is f(x)": ("f(x) = 2x", "y = 2x"),
    "spaces": ("100, 200", "100,200"),
    "a unit that the reference lacks": ("18 dollars per day", "18"),
    "the same unit in other words": ("5 cm", "5 centimeters"),
    "an inequality and its interval": ("(3, \\infty)", "x > 3"),
}


@pytest.mark.parametrize(("answer", "reference"), AGREEING.values(), ids=AGREEING.keys())
def test_agreeing(answer: str, reference: str) -> None:
    assert answers_agree(answer, reference)


DISAGREEING = {
    "a number of the solution": ("3", "First 3, then 5: 3 + 5 = 8\n#### 8"),
    "the number in a fraction": ("4", "\\frac{3}{4}"),
    "the number under a root": ("3", "2\\sqrt{3}"),
    "the last number of a time": ("30", "10:30"),
    "the last number of a tuple": ("4", "(3, 4)"),
    "nothing is expected": ("5", ""),
    "nothing is said": ("", "5"),
    "neither": ("", " "),
    "another variable": ("x = 5", "y = 5"),
    "another variable's bound": ("m > 1", "k > 1"),
    "a factor is missing": ("2", "2 m"),
    "another unit": ("5 m", "5 cm"),
    "minutes for hours": ("3 minutes", "3 hours"),
    "percent of percent": ("0.12%", "12%"),
    "names the other way round": ("x = 4, y = 3", "(3, 4)"),
    "another equation": ("2x - y - 3 = 0", "y = 2x + 3"),
}


@pytest.mark.parametrize(("answer", "reference"), DISAGREEING.values(), ids=DISAGREEING.keys())
def test_disagreeing(answer: str, reference: str) -> None:
    assert not answers_agree(answer, reference)


@pytest.mark.parametrize(
    ("field", "reference"),
    [(None, None), ("", None), (" \n", None), (" 8\n", "8"), (8, "8"), (0, "0"), (["3", "-3"], "3, -3")],
)
def test_a_blank_reference_is_none(field: object, reference: str | None) -> None:
    assert known_reference(field) == reference


logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no timeout


# --- math-verify (Hugging Face, on sympy) as the judge ------------------------------------------------------------


def judged_same(one: str, other: str) -> bool:
    """The verdict of math-verify, without its timeouts, which would need a thread."""
    left, right = (parse(f"${each}$", parsing_timeout=None) for each in (one, other))
    return verify(left, right, timeout_seconds=None)


def expressions() -> st.SearchStrategy[str]:
    leaves = st.one_of(
        st.integers(1, 9).map(str),
        st.sampled_from(["x", "\\sqrt{2}", "\\sqrt{12}", "\\frac{1}{2}", "\\frac34", "\\pi", "x^{2}"]),
    )

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(inner, inner).map(lambda pair: f"({pair[0]} + {pair[1]})"),
            st.tuples(inner, inner).map(lambda pair: f"({pair[0]} - {pair[1]})"),
            st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) \\cdot ({pair[1]})"),
            st.tuples(inner, inner).map(lambda pair: f"\\frac{{{pair[0]}}}{{{pair[1]}}}"),
        )

    return st.recursive(leaves, grown, max_leaves=3)


# Derandomized: sums with terms of very different sizes are compared as text, where order matters.
@settings(max_examples=40, deadline=None, derandomize=True)
@given(expressions(), expressions())
def test_math_verify_agrees_on_expressions(one: str, other: str) -> None:
    sums = f"{one} + {other}", f"{other} + {one}"
    products = f"({one} + 1) \\cdot ({other})", f"({one}) \\cdot ({other}) + ({other})"
    for left, right in ((one, other), sums, products):
        if normalise_answer(left) == normalise_answer(right):
            assert judged_same(left, right)
    assert normalise_answer(sums[0]) == normalise_answer(sums[1])
    assert normalise_answer(products[0]) == normalise_answer(products[1])


def collisions() -> Iterator[tuple[str, str]]:
    """Pairs of different values in the list that have the same key and that math-verify can read."""
    for at, one in enumerate(VALUES):
        yield from ((one, other) for other in VALUES[at + 1 :] if normalise_answer(one) == normalise_answer(other))


def test_only_names_tell_values_of_one_key_apart() -> None:
    assert list(collisions()) == []
