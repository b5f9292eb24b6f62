"""What follows a question, so that the model reasons and says its answer where it is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....model import speaks_of_reasoning
from ...errors import InputError

if TYPE_CHECKING:
    from ....model import ChatTemplate
    from ..protocol import Searcher

AUTO = "auto"
"""Stands for `DEFAULT_INSTRUCTION` wherever that helps."""

DEFAULT_INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}."
"""The words that the Qwen2.5 model cards ask for in mathematics. Of the question `What is 17 * 3 + 4?` alone the 0.5B
makes 51, twice of two chains; with this it makes 55."""


def instruction_for(
    template: ChatTemplate | None, strategy: Searcher, wanted: str | None, system: str | None = None
) -> str:
    """What follows each question.

    `"auto"` is nothing where the model reasons in a way of its own (`ChatTemplate.reasons`) or is told to by `system`,
    where it has no template, so that a question is a text to be continued, and where the strategy looks for answers in
    another place than a box.

    Raises:
        InputError: `wanted` is no text.
    """
    if wanted is None:
        return ""
    if not isinstance(wanted, str):
        raise InputError(f"instruction={wanted!r}: must be a text, auto, or None")
    if wanted != AUTO:
        return wanted.strip()
    reasons = template is None or template.reasons or speaks_of_reasoning(system or "")
    boxed = getattr(strategy, "answer_from", AUTO) == AUTO
    return DEFAULT_INSTRUCTION if boxed and not reasons else ""


def says_where_to_answer(question: str) -> bool:
    """Whether `question` itself asks for an answer in a box or behind another mark, so that nothing need be added."""
    return "\\boxed" in question or "<output>" in question.lower() or "####" in question


def with_instruction(question: str, instruction: str) -> str:
    """The words of the user's message."""
    return f"{question}\n\n{instruction}" if instruction else question
