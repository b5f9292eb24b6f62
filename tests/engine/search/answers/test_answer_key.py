"""Which spellings of an answer count as the same one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.search import extract_answer, normalise_answer

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
    # one number in many spellings
    ("\\dfrac{3}{4}", "3/4"),
    ("\\frac34", "0.75"),
    ("\\frac3{4}", "\\tfrac{3}{4}"),
    ("6/8", "¾"),
    ("-\\frac{3}{4}", "- 3/4"),
    ("\\frac{-3}{4}", "-0.75"),
    ("2 1/4", "2\\frac{1}{4}"),
    ("2¼", "9/4"),
    ("-2 1/4", "-2.25"),
    ("4 and a half", "4.5"),
    ("8{,}250", "8250"),
    ("12,\\! 345,\\! 678", "12345678"),
    ("10~500", "10 500"),
    ("10\\,500", "10\u202f500"),
    ("–6", "－6"),
    ("2.7 \\times 10^9", "2,700,000,000"),
    ("2^{10}", "1024"),
    ("2¹⁰", "1024"),
    ("2**10", "1024"),
    ("\\sqrt{49}", "7"),
    ("5!", "120"),
    ("0.1\\overline{6}", "1/6"),
    ("3 + 4 = 7", "7"),
    ("x = 7", "7"),
    ("\\text{Area} = 7", "7"),
    ("x = \\frac{1}{3} \\approx 0.33", "1/3"),
    ("7, in all, so he wins", "7"),
    ("about 7", "7"),
    # units
    ("45^\\circ", "45°"),
    ("45^{\\circ}", "45"),
    ("6 \\text{ cm}^2", "6 cm²"),
    ("6\\ \\text{cm}", "6~\\mathrm{cm}"),
    ("60\\text{ km/h}", "60 km/h"),
    ("6 square inches", "6"),
    ("9 (apples)", "9 apples"),
    ("€5", "5 €"),
    ("5\\sqrt{2} \\text{ cm}", "5\\sqrt2"),
    ("4 million", "4,000,000"),
    ("4 dozen eggs", "48"),
    ("2万元", "20000"),
    ("5千克", "5"),
    ("8:15 p.m.", "8:15 \\text{ PM}"),
    # expressions
    ("2\\sqrt{3}", "\\sqrt{12}"),
    ("2√3", "\\frac{6}{\\sqrt{3}}"),
    ("√12", "2*sqrt(3)"),
    ("\\frac{\\sqrt{5}}{2}", "\\frac{1}{2}\\sqrt5"),
    ("4\\pi", "4π"),
    ("(x+1)^2", "x^2 + 2x + 1"),
    ("x ^ { 2 }", "x²"),
    ("2 x y", "2yx"),
    ("\\frac{x}{2}", "x/2"),
    ("2i", "2\\mathrm{i}"),
    ("y = 2x - 1", "2x - 1"),
    ("x^2 + y^2 = 4", "2x^2 + 2y^2 = 8"),
    ("\\sin^2 x + \\cos^2 x", "1"),
    ("\\log_2 8", "3"),
    # several values
    ("3, 5", "5 and 3"),
    ("3 或 5", "5, 3"),
    ("3 or 5", "\\{5, 3\\}"),
    ("x = 3, x = 5", "x = 3 \\text{ or } x = 5"),
    ("\\pm 3", "-3, 3"),
    ("1 \\pm \\sqrt{2}", "1 - \\sqrt2, 1 + \\sqrt2"),
    ("(1,  \\frac12)", "\\left( 1, 0.5 \\right)"),
    ("(x, y) = (1, 2)", "(1, 2)"),
    ("[-1, \\infty)", "x \\ge -1"),
    ("-1 < x \\leq 2", "(-1, 2]"),
    ("x \\in [0, 1) \\cup (2, 3)", "(2,3)\\cup[0,1)"),
    ("\\begin{pmatrix} 1 & \\frac{2}{4} \\\\ 0 & 1 \\end{pmatrix}", "\\begin{bmatrix}1&0.5\\\\0&1\\end{bmatrix}"),
    ("\\text{(C)}", "C"),
    ("\\textbf{C}", "(C)"),
    ("“是”", "是"),
    ("Yes, because it is even", "yes"),
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
    # what follows a number may change it
    *[
        ("6", f"6{tail}")
        for tail in ("x", "n", "i", "π", "e", "k", "²", "!", "%x", "ab", "th", "\\sqrt{2}", "\\text{k}")
    ],
    *[("6", f"6 {tail}") for tail in ("million", "dozen", "hundred", "or seven", "and a half", "thirds", "squared")],
    *[("6", f"6 {tail}") for tail in ("x", "n", "times", "to 1", "\\text{or seven}", "less than x", "to the left")],
    *[("6", f"6{tail}") for tail in ("万", "百", "半", "多", "或7", "个半")],
    ("62", "6²"),
    ("3 1/2", "1/2"),
    ("3 1/2", "31/2"),
    ("0.333", "1/3"),
    ("3.14159265358979", "\\pi"),
    (f"1{'0' * 40}1", f"1{'0' * 40}2"),
    (f"0.{'3' * 40}", f"0.{'3' * 41}"),
    ("3-5", "-2"),
    ("3–5", "3"),
    ("1:2", "2:1"),
    ("10/12/2020", "10"),
    ("(1, 2)", "(2, 1)"),
    ("(1, 2)", "[1, 2]"),
    ("(1, 2]", "[1, 2)"),
    ("1, 2", "1, 2, 2"),
    ("x = 1, y = 2", "x = 2, y = 1"),
    ("5 feet, 6 inches", "6 feet, 5 inches"),
    ("x > 1", "x \\ge 1"),
    ("x > 1", "x < 1"),
    ("\\pm 3", "3"),
    ("\\begin{pmatrix}1 & 2\\end{pmatrix}", "\\begin{pmatrix}1 \\\\ 2\\end{pmatrix}"),
    ("x^2 + y^2 = 4", "x^2 + y^2 = 5"),
    ("2N", "2n"),
    ("8:15 a.m.", "8:15 p.m."),
    ("\\sqrt{x^2}", "x"),
    ("2\\sqrt{3}", "3\\sqrt{2}"),
    ("10^{20} + \\sqrt{2}", "10^{20} + \\sqrt{3}"),
    ("9^{9^9}", "9^{9^8}"),
    ("listen", "silent"),
    ("no", "on"),
    ("是", "否"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_answers(one: str, other: str) -> None:
    assert normalise_answer(one) != normalise_answer(other)


PARTS = [
    *(
        "1",
        "25",
        "0.5",
        "-",
        "+",
        "*",
        "/",
        "^",
        "(",
        ")",
        "[",
        "]",
        "{2}",
        "|",
        "!",
        "=",
        "<",
        "±",
        ",",
        ";",
        ".",
        ":",
    ),
    *("x", "a", "e", "i", "A", "\\frac", "\\sqrt", "\\pi", "\\text{cm}", "\\text{ or }", "\\\\", "&", "\\cup", "\\in "),
    *(" ", " and ", " or ", "million", "万", "半", "3 1/2", "12 500", "1,080", "²", "½", "–", "$", "%", "°", "'", '"'),
    *("\\begin{matrix}", "\\end{matrix}", "p.m.", "**", "≈", "dozen", "km/h", "so "),
]
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PARTS), max_size=12).map("".join))


@given(TEXTS)
def test_a_key_is_its_own_key(text: str) -> None:
    key = normalise_answer(text)
    assert normalise_answer(key) == key


def is_balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0 and not re.search(r"(?<!\\)(?:\\\\)*\\\Z", text)


@given(TEXTS.filter(is_balanced).filter(str.strip))
def test_a_boxed_value_has_the_key_of_the_value(text: str) -> None:
    assert normalise_answer(extract_answer(f"Thus \\boxed{{{text}}}.")) == normalise_answer(text)


@given(st.integers(-(10**40), 10**40))
def test_numbers_survive_any_spelling(number: int) -> None:
    key = normalise_answer(str(number))
    assert key == normalise_answer(f"{number:,}") == normalise_answer(f"{number}.00") == str(number)
    assert (
        key == normalise_answer(f"{number:,}".replace(",", "{,}")) == normalise_answer(f"{number:_}".replace("_", " "))
    )
    assert normalise_answer(extract_answer(f"Thus we get \\[ \\boxed{{{number:,}}} \\] in all.")) == key


@given(st.integers(-999, 999), st.integers(1, 99))
def test_fractions_survive_any_spelling(over: int, under: int) -> None:
    key = normalise_answer(f"{over}/{under}")
    assert (
        key
        == normalise_answer(f"\\dfrac{{{over}}}{{{under}}}")
        == normalise_answer(f"\\frac{{{2 * over}}}{{{2 * under}}}")
    )
    assert (key == normalise_answer(f"{over + 1}/{under}")) is False


HARD = [
    *("9^{9^{9^9}}", "2^{" * 90 + "1" + "}" * 90, "(" * 400 + "1" + ")" * 400, "sin" * 190 + "x", "\\sqrt" * 160 + "2"),
    *("\\frac" * 100 + "1" * 200, "√" * 900, "9" * 999, "170!" * 100, "-" * 999, "1," * 499, "[" * 999, "±" * 900),
    *("(±1," * 60, "x<" * 400, "x=1," * 200, "word " * 190, "\\text{" * 160, "1e999*" * 80, "{" * 500 + "}" * 500),
]


@pytest.mark.parametrize("text", HARD, ids=lambda text: text[:12])
def test_hard_values_have_keys(text: str) -> None:
    assert normalise_answer(text) == normalise_answer(f" {text} ") != ""
