"""The instruction added to a question, which asks the model to reason and to put its answer where it can be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....model import speaks_of_reasoning
from ...errors import InputError

if TYPE_CHECKING:
    from ....model import ChatTemplate
    from ..protocol import Searcher

AUTO = "auto"
"""Means `DEFAULT_INSTRUCTION`, except where the model needs none (see `instruction_for`)."""

DEFAULT_INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}."
"""The instruction that the Qwen2.5 model cards recommend for mathematics. Without it, the 0.5B answers
`What is 17 * 3 + 4?` with 51 in two chains out of two; with it, the answer is 55."""


def instruction_for(
    template: ChatTemplate | None, strategy: Searcher, wanted: str | None, system: str | None = None
) -> str:
    """The instruction to add to each question.

    `"auto"` adds nothing if the template or `system` already mentions reasoning (`ChatTemplate.reasons`), if there is
    no template, so that a question is just a text to continue, or if the strategy's `answer_from` is not `"auto"`.

    Raises:
        InputError: `wanted` is not a text.
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
    """Whether `question` itself asks for an answer in a box or after another mark, and so needs no instruction."""
    return "\\boxed" in question or "<output>" in question.lower() or "####" in question


def with_instruction(question: str, instruction: str) -> str:
    """The text of the user's message: the question, and the instruction after an empty line."""
    return f"{question}\n\n{instruction}" if instruction else question
