"""Chat templates: Jinja programs of a checkpoint that turn messages into a prompt."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2.exceptions import TemplateSyntaxError

from ..errors import ChatTemplateError
from .budget import STEPS, STEPS_PER_STEP_OF_INPUT, plain
from .sandbox import Sandbox

MAX_TEMPLATE_CHARACTERS = 2**20
"""Maximum characters of a template's source; the longest real ones, with tools, have less than 30 thousand."""

MAX_DATE_CHARACTERS = 200
"""Maximum characters of a date's format, whose result can be about a hundred times as long."""

MAX_MESSAGE_CHARACTERS = 300

_REASONS = re.compile(r"</?(think|thought|reasoning)>|step[ -]by[ -]step", re.IGNORECASE)
"""Signs that a template mentions reasoning: R1's distills and QwQ open `<think>` or cut it off, Marco-o1 asks for
`<Thought>` and `<Output>`, and others ask in their system message to reason step by step."""

Message = Mapping[str, Any]
"""One message: `role`, `content` and whatever else the template reads."""


class ChatTemplate:
    """A Jinja template in a sandbox: no attribute tricks, no files, no endless loops.

    Templates have what transformers gives them: `messages`, `add_generation_prompt`, the special tokens by name,
    `raise_exception`, `strftime_now`, a `tojson` that does not escape HTML, and loop controls.

    Attributes:
        source: The Jinja text.
        reasons: Whether it mentions reasoning, so that prompts need not ask for it.
        shows_date: Whether it may show today's date, so that prompts differ from day to day.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Compile `source`.

        Args:
            source: The Jinja text.
            special_tokens: Variables such as `bos_token` and `eos_token`.

        Raises:
            ChatTemplateError: The text is not a valid template, or is too large.
        """
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise ChatTemplateError(f"chat template: longer than {MAX_TEMPLATE_CHARACTERS} characters")
        self.source = source
        self.reasons = speaks_of_reasoning(source)
        self.shows_date = "strftime_now" in source
        self._special_tokens = dict(special_tokens)
        self._now: datetime | None = None
        self._turn = threading.Lock()
        self._sandbox = Sandbox({"strftime_now": self._strftime_now})
        try:
            self._template = self._sandbox.compile_paying(source)
        except Exception as error:  # jinja's parser and compiler, and Python's, can raise anything
            raise ChatTemplateError(f"chat template: cannot be compiled: {_brief(error)}") from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        **variables: object,
    ) -> str:
        """Render `messages` to a prompt.

        Args:
            messages: The chat, oldest first; text, numbers, lists and mappings.
            add_generation_prompt: Whether to end with the beginning of the assistant's answer.
            now: The time that `strftime_now` shows; None for the current time.
            variables: Further variables of this template, such as `tools`.

        Raises:
            ChatTemplateError: The template refuses the messages, fails, or does too much work for them.
        """
        scope = {**self._special_tokens, "tools": None, "documents": None, **variables}
        scope |= {"messages": list(messages), "add_generation_prompt": add_generation_prompt}
        budget = self._sandbox.budget
        try:
            data = plain(scope)
            with self._turn:
                self._now = now
                budget.left = sys.maxsize
                budget.left = STEPS + STEPS_PER_STEP_OF_INPUT * budget.weigh(data)
                return "".join(self._template.generate(data))
        except Exception as error:  # a template can raise anything
            raise ChatTemplateError(f"chat template: {_brief(error)}") from error

    def _strftime_now(self, format: str) -> str:
        """The date and time of this rendering, or now, for templates that show it to the model."""
        if len(format) > MAX_DATE_CHARACTERS:
            raise ValueError(f"asks for a date of more than {MAX_DATE_CHARACTERS} characters")
        return (self._now or datetime.now()).strftime(format)


def speaks_of_reasoning(text: str) -> bool:
    """Whether a template or a system message mentions the tags of a thought, or steps."""
    return _REASONS.search(text) is not None


def _brief(error: Exception) -> str:
    """The error as one printable line, even if a template wrote its text."""
    if isinstance(error, RecursionError | MemoryError):  # Python's parser raises the latter for deep nesting
        return "it is too large or nested too deeply"
    match error:
        case TemplateSyntaxError():
            whole = f"{error.message}, in line {error.lineno}"
        case SyntaxError():  # in the Python that jinja generates: its lines are not the template's
            whole = error.msg
        case KeyError():
            whole = f"there is no {error}"
        case _:
            whole = str(error)
    text = whole[: 4 * MAX_MESSAGE_CHARACTERS]
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return f"{line[:MAX_MESSAGE_CHARACTERS]}..." if len(line) > MAX_MESSAGE_CHARACTERS else line or type(error).__name__
