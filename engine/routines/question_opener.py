"""Turns questions into tasks for a search: renders the prompt and opens its node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date as Date
from typing import Self

from ...model import Tokenizer
from ..errors import InputError
from ..node import Node
from ..search.protocol import Searcher, Task
from ..search.question import Question
from ..search.rollout.instruction import AUTO, instruction_for, says_where_to_answer, with_instruction
from ..text.chat import chat_ids
from ..text.token_codec import TokenCodec


@dataclass(frozen=True, slots=True)
class QuestionOpener:
    """Renders the prompts of all questions of one run.

    Attributes:
        open_prompt: Returns the node after a prompt's token ids.
        tokenizer: The model's tokenizer, if it has one.
        context: The model's context length, in tokens.
        system: System message; the chat template's default if None.
        instruction: Text appended to each question.
        is_default: Whether the instruction is the default, which is left out if a question says where its answer goes.
        date: The date that a chat template shows as today's.
    """

    open_prompt: Callable[[list[int]], Node]
    tokenizer: Tokenizer | None
    context: int
    system: str | None
    instruction: str
    is_default: bool
    date: Date

    @classmethod
    def of(
        cls,
        open_prompt: Callable[[list[int]], Node],
        codec: TokenCodec,
        context: int,
        strategy: Searcher,
        instruction: str | None,
        system: str | None,
        date: Date | None,
    ) -> Self:
        """An opener for questions that `strategy` searches; `instruction`, `system` and `date` as in `Engine.stream`.

        Raises:
            InputError: An argument is invalid.
        """
        if not isinstance(system, str | None):
            raise InputError(f"system={system!r:.100}: must be a text or None")
        if not isinstance(date, Date | None):
            raise InputError(f"date={date!r:.100}: must be a datetime.date or None")
        template = codec.tokenizer.chat_template if codec.tokenizer else None
        added = instruction_for(template, strategy, instruction, system)
        is_default = instruction == AUTO
        return cls(open_prompt, codec.tokenizer, context, system, added, is_default, date or Date.today())

    def __call__(self, index: int, question: Question) -> Task:
        """The task of the question at `index`, with the node after its prompt.

        Raises:
            MarcotError: The question is empty, or no prompt can be rendered for it.
        """
        text, reference = question
        if not text.strip():
            raise InputError(f"question {index + 1} is empty")
        added = "" if self.is_default and says_where_to_answer(text) else self.instruction
        prompt = self.open_prompt(chat_ids(self.tokenizer, with_instruction(text, added), self.system, self.date))
        assert self.tokenizer is not None, "chat_ids needs one"
        return Task(index, text, prompt, self.context, self.tokenizer.decode, reference, added)
