"""Where Marco-o1's reflection goes, and what follows it."""

from __future__ import annotations

import pytest
from marcot.engine.search.rollout.reflection import REFLECTION, conclusion, separated, thought_length


def decode(ids: list[int]) -> str:
    return bytes(id for id in ids if id).decode(errors="replace")


def test_the_sentence_is_the_paper_s() -> None:
    assert REFLECTION == "Wait! Maybe I made some mistakes! I need to rethink from scratch."


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("six plus two is eight", "six plus two is eight"),
        ("it is eight\n</Thought>\n<Output>8</Output>", "it is eight"),
        ("it is eight</think>8", "it is eight"),
        ("</Thought>8", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("ended_by_eos", [True, False])
def test_a_thought_ends_before_its_tag_or_where_the_model_stopped(text: str, thought: str, ended_by_eos: bool) -> None:
    ids = [*text.encode(), *([0] if ended_by_eos else [])]
    assert decode(ids[: thought_length(ids, ended_by_eos, decode)]) == thought


def test_the_reflection_is_a_paragraph_of_its_own() -> None:
    assert separated(REFLECTION, "it is eight.") == "\n\n" + REFLECTION
    assert separated(REFLECTION, "it is eight.\n\n") == REFLECTION
    assert separated(REFLECTION, "") == REFLECTION


def test_the_conclusion_is_what_follows_the_last_reflection() -> None:
    assert conclusion(f"8 {REFLECTION} 9 {REFLECTION} 10") == " 10"
    assert conclusion(f"the answer is 8 {REFLECTION}\n") == f"the answer is 8 {REFLECTION}\n"
    assert conclusion("8") == "8"
