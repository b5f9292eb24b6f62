"""Where steps and mini-steps cut a chain."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine.errors import InputError
from marcot.engine.search.actions import resolve_action, step
from marcot.engine.search.actions.action import token_border


def decode(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")


def steps(text: str) -> list[str]:
    ids = list(text.encode())
    ends = resolve_action("step").cut(ids, decode, SURE)
    return [decode(ids[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


SURE = np.ones(1000, np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one line", ["one line"]),
        ("first\n\nsecond\n\nthird", ["first\n\n", "second\n\n", "third"]),
        ("first\n \t\nsecond", ["first\n \t\n", "second"]),
        ("first\n\n\n\nsecond", ["first\n\n\n\n", "second"]),
        ("one\ntwo\nthree", ["one\ntwo\nthree"]),
        ("<Thought>\nhm\n</Thought>\n<Output>\n8", ["<Thought>\nhm\n</Thought>", "\n<Output>\n8"]),
        ("<think>hm</think>8", ["<think>hm</think>", "8"]),
        ("Step 1: add\nStep 2: stop", ["Step 1: add\n", "Step 2: stop"]),
        ("### Step 1\nadd\n### Step 2\nstop", ["### Step 1\nadd\n", "### Step 2\nstop"]),
        ("**Step 1:** add\n**Step 2:** stop", ["**Step 1:** add\n", "**Step 2:** stop"]),
        ("步骤1：相加\n步骤2：完成", ["步骤1：相加\n", "步骤2：完成"]),
        ("add step 2 to\nstepwise work", ["add step 2 to\nstepwise work"]),
        ("\n\nfirst\n\nsecond", ["\n\nfirst\n\n", "second"]),
        ("the end\n\n", ["the end\n\n"]),
        ("   \n\n  ", ["   \n\n  "]),
        ("", []),
    ],
)
def test_steps(text: str, expected: list[str]) -> None:
    assert steps(text) == expected


def test_a_step_ends_at_the_first_token_border_after_its_mark() -> None:
    words = ["The", " sum.\n", "\nNow", " eight"]
    cut = resolve_action("step").cut([0, 1, 2, 3], lambda ids: "".join(words[id] for id in ids), SURE)
    assert cut == [3, 4]


@given(words=st.lists(st.text("ab\n #1step", min_size=1, max_size=5), max_size=400))
def test_steps_end_where_they_do_without_the_texts_of_single_tokens(words: list[str]) -> None:
    ids = range(len(words))
    ends = resolve_action("step").cut(ids, lambda some: "".join(words[id] for id in some), SURE)
    with mock.patch.object(step, "joined_ends", return_value=None):
        assert resolve_action("step").cut(ids, lambda some: "".join(words[id] for id in some), SURE) == ends


@given(words=st.lists(st.text("ab\n", min_size=1, max_size=9), min_size=1, max_size=60), data=st.data())
def test_a_token_border_is_the_first_that_is_far_enough(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    characters = data.draw(st.integers(1, len(text)))
    ends = list(accumulate(map(len, words)))
    found = token_border(range(len(words)), text, characters, lambda ids: "".join(words[id] for id in ids))
    assert found == bisect_left(ends, characters) + 1


@pytest.mark.parametrize(
    ("name", "length"), [("token", 1), ("mini-step-32", 32), ("mini-step-64", 64), ("mini-step-7", 7)]
)
@given(total=st.integers(0, 200))
def test_fixed_lengths(name: str, length: int, total: int) -> None:
    ends = resolve_action(name).cut(list(range(total)), decode, SURE)
    sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    assert sum(sizes) == total
    assert all(size == length for size in sizes[:-1])
    assert not sizes or 1 <= sizes[-1] <= length


@given(st.text(alphabet="ab\n \t步骤1Step", max_size=60))
def test_steps_add_up_to_the_text_and_none_is_blank(text: str) -> None:
    parts = steps(text)
    assert "".join(parts) == text
    assert len(parts) <= 1 or all(part.strip() for part in parts)


@pytest.mark.parametrize("name", ["", "steps", "mini-step", "mini-step-0", "mini-step--1", "mini-step-1e3", "Token"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="must be step, mini-step-64"):
        resolve_action(name)
