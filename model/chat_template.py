"""Chat templates: the checkpoint's own way to turn messages into a prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .errors import ChatTemplateError

MAX_TEMPLATE_CHARACTERS = 2**20
"""Bound on a template's source; the longest real ones, with tools, are under 30 thousand characters."""

MAX_STEPS = 200_000
"""Bound on loop passes and calls of one rendering; a chat of a hundred messages takes a few thousand."""

MAX_CHARACTERS = 64 * 2**20
"""Bound on a rendered prompt, and on any string or list that a template builds by repetition."""

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
        self._special_tokens = dict(special_tokens)
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise ChatTemplateError(f"chat template: longer than {MAX_TEMPLATE_CHARACTERS} characters")
        self._environment = _Sandbox()
        try:
            self._template = self._environment.compile_counted(source)
        except (jinja2.TemplateError, RecursionError, ValueError, OverflowError, MemoryError) as error:
            raise ChatTemplateError(f"chat template: cannot be compiled: {error}") from error

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True, **variables: object) -> str:
        """Return the prompt that stands for `messages`.

        Args:
            messages: The chat, oldest first.
            add_generation_prompt: End with the opening of the assistant's answer.
            variables: Further variables of this template, such as `tools`.

        Raises:
            ChatTemplateError: The template refuses the messages, fails, or exceeds a bound.
        """
        self._environment.steps = 0
        scope = {**self._special_tokens, "tools": None, "documents": None, **variables}
        scope |= {"messages": list(messages), "add_generation_prompt": add_generation_prompt}
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(scope):
                pieces.append(piece)
                length += len(piece)
                _check_size(length)
        except Exception as error:  # a template can raise anything, and whatever it is, it is the template's error
            raise ChatTemplateError(f"chat template: {error}") from error
        return "".join(pieces)


def speaks_of_reasoning(text: str) -> bool:
    """Whether a template or a system message names the tags of a thought, or steps."""
    return _REASONS.search(text) is not None


class _GenerationTag(Extension):
    """`{% generation %}`, with which some templates mark the assistant's words for training: its body, unchanged."""

    tags = {"generation"}  # noqa: RUF012 - jinja declares it as an instance variable

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, with a budget of steps and a bound on repetition."""

    intercepted_binops = frozenset(["*", "**"])

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag])
        self.steps = 0
        self.filters["tojson"] = _to_json
        self.filters["counted"] = self._counted
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now

    def compile_counted(self, source: str) -> jinja2.Template:
        """Compile `source` with every loop drawing on the budget of steps."""
        tree = self.parse(source)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None)
        return self.from_string(tree)

    def call(__self, __context: Context, __obj: object, *args: object, **kwargs: object) -> object:  # noqa: N805
        __self._spend_step()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if operator == "**":
            raise SecurityError("powers are not allowed in a template")
        if isinstance(left, Sized) and isinstance(right, int):
            _check_size(len(left) * right)
        if isinstance(right, Sized) and isinstance(left, int):
            _check_size(len(right) * left)
        return super().call_binop(context, operator, left, right)

    def _counted(self, items: Iterable[object]) -> Iterator[object]:
        for item in items:
            self._spend_step()
            yield item

    def _spend_step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError(f"stopped after {MAX_STEPS} loop passes and calls")


def _check_size(size: int) -> None:
    if size > MAX_CHARACTERS:
        raise SecurityError(f"makes more than {MAX_CHARACTERS} characters")


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
