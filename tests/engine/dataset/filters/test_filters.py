"""Each filter of traces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.dataset import DatasetOptions, ReasoningTrace
from marcot.engine.dataset.filters.filters import HEURISTIC_FILTERS, QUALITY_FILTERS, first_failed
from marcot.engine.dataset.filters.repetition import ends_in_loop, repeated_share
from marcot.engine.dataset.filters.script import foreign_share, main_script
from marcot.engine.dataset.thought_output import parse_thought_output, to_thought_output

OPTIONS = DatasetOptions()
GOOD = ReasoningTrace("How many eggs are left?", "She had 7 eggs and ate 2 of them, so 5 are left.", "5", value=0.6)


def changed(**fields: object) -> ReasoningTrace:
    return ReasoningTrace(**{"question": GOOD.question, "text": GOOD.text, "answer": GOOD.answer, **fields})  # type: ignore[arg-type]


def failed(trace: ReasoningTrace, **options: object) -> str | None:
    chosen = DatasetOptions(**options)  # type: ignore[arg-type]
    return first_failed(trace, chosen, {**HEURISTIC_FILTERS, **QUALITY_FILTERS})


def test_a_good_trace_passes() -> None:
    assert failed(GOOD) is None


@pytest.mark.parametrize(
    ("trace", "name"),
    [
        (changed(complete=False), "complete"),
        (changed(answer=" \n"), "answered"),
        (changed(text="<Thought>I think it is five.</Thought> five"), "well-formed"),
        (changed(text="<Output>five of them</Output><Thought>because I think so</Thought>"), "well-formed"),
        (changed(text="<Thought> </Thought><Output>5, I would say</Output>"), "well-formed"),
        (changed(text="She had 7 \ufffdggs and ate 2 of them, so 5."), "readable"),
        (changed(question="How many \ufffdggs?"), "readable"),
        (changed(text="She had 7 eggs\x00 and ate 2 of them, so 5."), "readable"),
        (changed(text="It is 5, isn't it? \ud83d"), "readable"),
        (changed(text="5 are left"), "length"),
        (changed(text=" " * 30 + "5"), "length"),
        (changed(text="7 - 2 = 5. " * 2000), "length"),
        (changed(text="Now then. " + "So she eats 2 and has 5 left. " * 4), "repetition"),
        (changed(text="她有七个鸡蛋，吃了两个，所以还剩五个鸡蛋。"), "language"),
        (changed(text="She had 7 eggs 所以还剩五个鸡蛋 and 5 are left."), "language"),
        (changed(correct=False), "correct"),
    ],
)  # fmt: skip
def test_each_heuristic_names_itself(trace: ReasoningTrace, name: str) -> None:
    assert failed(trace) == name


@pytest.mark.parametrize(
    ("fields", "options", "name"),
    [
        ({"value": 0.4}, {"min_value": 0.5}, "value"),
        ({"value": -2.0}, {"min_value": -1.5}, "value"),
        ({"value": -2.0}, {}, None),
        ({"value": 0.5}, {"min_value": 0.5}, None),
        ({}, {"min_value": 0.5}, None),
        ({"confidence": 0.4}, {"min_confidence": 0.5}, "confidence"),
        ({"agreement": 0.25}, {"min_agreement": 0.5}, "agreement"),
        ({"correct": False}, {"keep_wrong": True}, None),
        ({"correct": None}, {}, None),
        ({"text": "她有七个鸡蛋，吃了两个，所以还剩五个鸡蛋。"}, {"max_foreign": 1}, None),
        ({"text": "She has 5 left. " * 9}, {"max_repetition": 1}, "repetition"),
    ],
)
def test_thresholds_decide(fields: dict[str, object], options: dict[str, object], name: str | None) -> None:
    assert failed(changed(**fields), **options) == name


def test_every_filter_says_in_its_docstring_what_stays() -> None:
    for filter in [*HEURISTIC_FILTERS.values(), *QUALITY_FILTERS.values()]:
        assert filter.__doc__
        assert "\n" not in filter.__doc__, "a row of the card"


@pytest.mark.parametrize(
    ("text", "script"),
    [("What is 2 + 3?", "Latin"), ("小明有 3 个苹果，x 是多少？", "Han"), ("Сколько?", "Cyrillic"), ("2 + 3", None)],
)
def test_main_script(text: str, script: str | None) -> None:
    assert main_script(text) == script


@pytest.mark.parametrize(
    ("text", "question", "share"),
    [
        ("三个苹果", "小明有几个苹果？", 0.0),
        ("Three apples", "小明有几个苹果？", 1.0),
        ("设 x 为苹果，\\frac{x}{2}，`print(apples)`", "小明有几个苹果？", 0.0),
        ("Tom 有三个", "Tom 有几个苹果？", 0.0),
        ("ok 三个苹", "小明有几个苹果？", 0.25),
        ("42", "How many?", 0.0),
        ("任何", "1 + 1", 0.0),
    ],
)
def test_foreign_share_leaves_out_code_variables_and_quotes(text: str, question: str, share: float) -> None:
    assert foreign_share(text, question) == pytest.approx(share)


def test_repeated_share_counts_later_occurrences() -> None:
    words = [f"w{number}" for number in range(10)]
    assert repeated_share(" ".join(words)) == 0.0
    # 20 words have 13 runs of 8 words; those at words 11 to 13 have been seen already.
    assert repeated_share(" ".join(words + words)) == pytest.approx(3 / 13)
    assert repeated_share("a b c") == 0.0


@given(
    st.lists(st.sampled_from("abcdefgh"), max_size=30),
    st.lists(st.sampled_from("xyz"), min_size=1, max_size=12),
    st.integers(3, 6),
)
def test_a_loop_at_the_end_is_found_whatever_comes_before(head: list[str], turn: list[str], turns: int) -> None:
    text = " ".join(head + turn * turns)
    if len(turn) * turns >= 24:
        assert ends_in_loop(text)
        assert ends_in_loop(" ".join(head + turn * turns + turn[: len(turn) // 2]))


@given(st.lists(st.integers(0, 10**9), unique=True, max_size=60))
def test_different_words_are_not_a_loop(words: list[int]) -> None:
    assert not ends_in_loop(" ".join(map(str, words)))


def test_short_repeats_are_not_a_loop() -> None:
    assert not ends_in_loop("no no no no no")
    assert not ends_in_loop("2 + 2 + 2 + 2 + 2 = 10, so it is 10")


@given(st.text(min_size=1), st.text(min_size=1))
def test_thought_and_output_survive_the_form(thought: str, output: str) -> None:
    text = to_thought_output(thought, output)
    parts = parse_thought_output(text)
    tags = any(tag in (thought + output).casefold() for tag in ("thought>", "output>"))
    if thought.strip() and output.strip() and not tags:
        assert parts == (thought.strip(), output.strip())
        assert to_thought_output(text, "other") == text
