"""Where chat templates run: Jinja without attribute tricks, files or endless loops."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_STEPS = 200_000
"""Bound on loop passes and calls of one rendering; a chat of a hundred messages takes a few thousand."""

MAX_CHARACTERS = 64 * 2**20
"""Bound on a rendered prompt, and on any string or list that a template builds by repetition."""


class _GenerationTag(Extension):
    """`{% generation %}`, with which some templates mark the assistant's words for training: its body, unchanged."""

    tags = {"generation"}  # noqa: RUF012 - jinja declares it as an instance variable

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, with a budget of steps and a bound on repetition."""

    intercepted_binops = frozenset(["*", "**"])

    def __init__(self, functions: Mapping[str, Callable[..., object]]) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag])
        self.steps = 0
        self.filters["tojson"] = _to_json
        self.filters["counted"] = self._counted
        self.globals["raise_exception"] = _raise_exception
        self.globals |= functions

    def compile_counted(self, source: str) -> jinja2.Template:
        """Compile `source` with every loop drawing on the budget of steps."""
        tree = self.parse(source)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None)
        return self.from_string(tree)

    def call(__self, __context: Context, __obj: object, *args: object, **kwargs: object) -> object:  # noqa: N805
        """Call `__obj` as the template asks, which takes a step."""
        __self._spend_step()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Compute `left operator right`, unless it builds too much."""
        if operator == "**":
            raise SecurityError("powers are not allowed in a template")
        if isinstance(left, Sized) and isinstance(right, int):
            check_size(len(left) * right)
        if isinstance(right, Sized) and isinstance(left, int):
            check_size(len(right) * left)
        return super().call_binop(context, operator, left, right)

    def _counted(self, items: Iterable[object]) -> Iterator[object]:
        for item in items:
            self._spend_step()
            yield item

    def _spend_step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError(f"stopped after {MAX_STEPS} loop passes and calls")


def check_size(size: int) -> None:
    """Refuse to build a text of `size` characters when that is too much."""
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
