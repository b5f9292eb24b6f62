"""Chain-of-thought samples from other data sets: Marco-o1's, Open-O1's, and any with the same fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import InputError
from ...search.answers import answers_agree, extract_answer, known_reference
from ..thought_output import parse_thought_output
from ..trace import ReasoningTrace

QUESTION_FIELDS = ("instruction", "question", "prompt")
"""Names of the question field; Marco-o1 and Open-O1 use `instruction`."""

TEXT_FIELDS = ("response", "output", "completion")
"""Names of the text field; Marco-o1 uses `response`, Open-O1 `output`."""


def is_cot_sample(entry: Mapping[str, Any]) -> bool:
    """Whether `entry` has `messages`, or a question and a text under any of the usual names."""
    return "messages" in entry or (
        _named(entry, QUESTION_FIELDS) is not None and _named(entry, TEXT_FIELDS) is not None
    )


def parse_sample(entry: Mapping[str, Any]) -> ReasoningTrace:
    """Convert the sample to a trace.

    The trace counts as complete; a text that was cut short is recognised by its missing tags. Alpaca's `input` is
    appended to the instruction; `answer`, if present, is the reference.

    Raises:
        InputError: A field is invalid; the message names the field but not the line.
    """
    system = None
    if "messages" in entry:
        system, question, text = _of_messages(entry["messages"])
    else:
        question, text = _named(entry, QUESTION_FIELDS) or "", _named(entry, TEXT_FIELDS) or ""
        if isinstance(entry.get("input"), str) and entry["input"].strip():
            question = f"{question}\n{entry['input']}"
        if isinstance(entry.get("system"), str):
            system = entry["system"] or None
    if not question.strip():
        raise InputError("the question is empty")
    parts = parse_thought_output(text)
    reference = known_reference(entry.get("answer"))
    answer = extract_answer(text)
    return ReasoningTrace(
        question=question,
        text=text,
        # All of the output, because it may be an explanation rather than a short answer.
        answer=parts.output if parts else answer,
        system=system,
        correct=None if reference is None else answers_agree(answer, reference),
    )


def _of_messages(messages: object) -> tuple[str | None, str, str]:
    """System message, question and text of a single-turn conversation."""
    turns = messages if isinstance(messages, list) else []
    pairs = [(turn.get("role"), turn.get("content")) for turn in turns if isinstance(turn, dict)]
    system = None
    if pairs and pairs[0][0] == "system":
        system, pairs = pairs[0][1], pairs[1:]
    if [role for role, _ in pairs] != ["user", "assistant"] or not all(isinstance(text, str) for _, text in pairs):
        raise InputError('"messages" must be one user turn and one assistant turn, after a system message or none')
    return system if isinstance(system, str) else None, str(pairs[0][1]), str(pairs[1][1])


def _named(entry: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((entry[name] for name in names if isinstance(entry.get(name), str)), None)
