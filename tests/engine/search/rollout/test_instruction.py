"""The instruction that follows a question, and when it is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marcot import MCTS, Engine, Greedy, InputError, Rollout, SearchResult
from marcot.engine.search.answers import votes
from marcot.engine.search.rollout.instruction import DEFAULT_INSTRUCTION, instruction_for
from marcot.model import ChatTemplate

PLAIN = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}[assistant]"
REASONING = {
    "opens think": PLAIN + "<think>\n",
    "cuts think off": "{% set content = messages[0].content.split('</think>')[-1] %}{{ content }}",
    "thought and output": "[system]Think within <Thought>, and answer within <Output>." + PLAIN,
    "asks by itself": "[system]Please reason step by step." + PLAIN,
    "asks with hyphens": "[system]You should think step-by-step." + PLAIN,
}


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, {})


def test_by_default_the_model_is_asked_to_reason_and_to_box_its_answer() -> None:
    assert instruction_for(template(PLAIN), MCTS(), "auto") == DEFAULT_INSTRUCTION
    assert "\\boxed{}" in DEFAULT_INSTRUCTION


@pytest.mark.parametrize("source", REASONING.values(), ids=REASONING)
def test_a_model_that_reasons_by_itself_is_left_alone(source: str) -> None:
    assert instruction_for(template(source), MCTS(), "auto") == ""
    assert instruction_for(template(source), MCTS(), "Be brief.") == "Be brief."


@pytest.mark.parametrize("system", ["Think in <Thought>, and answer in <Output>.", "Think step by step."])
def test_a_system_message_that_asks_to_reason_is_enough(system: str) -> None:
    assert instruction_for(template(PLAIN), MCTS(), "auto", system) == ""
    assert instruction_for(template(PLAIN), MCTS(), "auto", "You teach arithmetic.") == DEFAULT_INSTRUCTION


def test_a_text_to_be_continued_stays_as_it_is() -> None:
    assert instruction_for(None, MCTS(), "auto") == ""


@pytest.mark.parametrize("answer_from", ["text", r"Answer: (\d+)", str.strip], ids=["text", "expression", "function"])
def test_an_answer_in_another_place_is_not_asked_into_a_box(answer_from: Any) -> None:
    assert instruction_for(template(PLAIN), Greedy(answer_from=answer_from), "auto") == ""


@pytest.mark.parametrize(("wanted", "follows"), [(None, ""), ("", ""), (" \n", ""), ("Be brief.\n", "Be brief.")])
def test_a_given_instruction_is_used(wanted: str | None, follows: str) -> None:
    assert instruction_for(template(PLAIN), MCTS(), wanted) == follows


def test_a_wrong_type_is_named() -> None:
    with pytest.raises(InputError, match="instruction=3: must be a text, auto, or None"):
        instruction_for(template(PLAIN), MCTS(), 3)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True)), kv_tokens=4096)


def found(engine: Engine, question: str, **options: Any) -> SearchResult:
    [result] = engine.search(question, MCTS(rollouts=2, max_rollout_tokens=5, action="token"), **options)
    return replace(result, stats=None)


def test_it_follows_the_question_after_an_empty_line(engine: Engine) -> None:
    result = found(engine, "How many?", instruction="Think.")
    assert (result.question, result.instruction) == ("How many?", "Think.")
    written = found(engine, "How many?\n\nThink.", instruction=None)
    assert result == replace(written, question="How many?", instruction="Think.")
    assert result.rollouts != found(engine, "How many?", instruction=None).rollouts


def test_search_has_it_by_default(engine: Engine) -> None:
    assert found(engine, "How many?") == found(engine, "How many?", instruction=DEFAULT_INSTRUCTION)


@pytest.mark.parametrize("asked", ["Answer with \\boxed{...} only.", "Put it in <Output>.", "End with #### and it."])
def test_a_question_that_says_where_its_answer_goes_is_left_alone(engine: Engine, asked: str) -> None:
    question = f"How many? {asked}"
    assert found(engine, question) == found(engine, question, instruction=None)
    assert found(engine, question, instruction="Think.").instruction == "Think."


def rollout(answer: str) -> Rollout:
    return Rollout("", 0.5, answer, 3, "eos", 0)


@pytest.mark.parametrize(
    ("answers", "answer", "counted"),
    [
        (["4", "4"], "4", (2, 2)),
        (["4", "5", "4.0", ""], "4", (2, 3)),
        (["", ""], "", (0, 0)),
        ([], "", (0, 0)),
    ],
    ids=["all", "one is another and one has none", "none has any", "no chain"],
)
def test_chains_that_gave_the_answer_are_counted(answers: list[str], answer: str, counted: tuple[int, int]) -> None:
    assert votes(answer, [rollout(each) for each in answers]) == counted
