"""Chat templates: the checkpoint's own way to turn messages into a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2

from .errors import ChatTemplateError
from .template_sandbox import Sandbox, check_size

MAX_TEMPLATE_CHARACTERS = 2**20
"""Bound on a template's source; the longest real ones, with tools, are under 30 thousand characters."""

_REASONS = re.compile(r"</?(think|thought|reasoning)>|step[ -]by[ -]step", re.IGNORECASE)
"""R1's distills and QwQ open `<think>` or cut it off, Marco-o1 asks for `<Thought>` and `<Output>`, and others ask in
their system message to reason step by step."""

Message = Mapping[str, Any]
"""One message: `role`, `content` and whatever else the template reads."""


class ChatTemplate:
    """A Jinja template in a sandbox: no attribute tricks, no files, no endless loops.

    Templates see what they see in transformers: `messages`, `add_generation_prompt`, the special tokens by name,
    `raise_exception`, `strftime_now`, a `tojson` that does not escape HTML, and loop controls.

    Attributes:
        reasons: Whether it speaks of the model's reasoning, which then needs no request.
        shows_date: Whether it may tell the model what day it is, so that a prompt is another one tomorrow.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Compile `source`.

        Args:
            source: The Jinja text.
            special_tokens: Variables such as `bos_token` and `eos_token`.

        Raises:
            ChatTemplateError: The text is not a valid template.
        """
        self.reasons = speaks_of_reasoning(source)
        self.shows_date = "strftime_now" in source
        self._special_tokens = dict(special_tokens)
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise ChatTemplateError(f"chat template: longer than {MAX_TEMPLATE_CHARACTERS} characters")
        self._now: datetime | None = None
        self._environment = Sandbox({"strftime_now": self._strftime_now})
        try:
            self._template = self._environment.compile_counted(source)
        except (jinja2.TemplateError, RecursionError, ValueError, OverflowError, MemoryError) as error:
            raise ChatTemplateError(f"chat template: cannot be compiled: {error}") from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        **variables: object,
    ) -> str:
        """Return the prompt that stands for `messages`.

        Args:
            messages: The chat, oldest first.
            add_generation_prompt: End with the opening of the assistant's answer.
            now: The time that `strftime_now` tells; None for the time that it is.
            variables: Further variables of this template, such as `tools`.

        Raises:
            ChatTemplateError: The template refuses the messages, fails, or exceeds a bound.
        """
        self._now = now
        self._environment.steps = 0
        scope = {**self._special_tokens, "tools": None, "documents": None, **variables}
        scope |= {"messages": list(messages), "add_generation_prompt": add_generation_prompt}
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(scope):
                pieces.append(piece)
                length += len(piece)
                check_size(length)
        except Exception as error:  # a template can raise anything, and whatever it is, it is the template's error
            raise ChatTemplateError(f"chat template: {error}") from error
        return "".join(pieces)

    def _strftime_now(self, format: str) -> str:
        """Today's date and time, or those of this rendering, for the templates that tell it to the model."""
        return (self._now or datetime.now()).strftime(format)


def speaks_of_reasoning(text: str) -> bool:
    """Whether a template or a system message names the tags of a thought, or steps."""
    return _REASONS.search(text) is not None
