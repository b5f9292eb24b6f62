"""Chooses how to find an answer in a text."""

from __future__ import annotations

import re
from collections.abc import Callable

from ...errors import InputError
from ..user_import import import_attribute, instantiate, is_import_path
from .extraction import extract_answer

AnswerParser = Callable[[str], str]
"""A function that returns the answer in a text, or an empty string if there is none."""


def resolve_answer_parser(choice: str | AnswerParser) -> AnswerParser:
    """The parser that `choice` means: `"auto"`, `"text"`, a function or its `module:name`, or a regular expression.

    `"auto"` is `extract_answer`; `"text"` takes the whole text, for questions without a short answer. The last match of
    a regular expression counts, or its first group if it has one.

    Raises:
        InputError: The regular expression is invalid, or `choice` is none of these.
    """
    if not isinstance(choice, str):
        if not callable(choice):
            raise InputError(
                f"answer_from={choice!r}: must be auto, text, a regular expression, or a function of a text"
            )
        return choice
    if choice == "auto":
        return extract_answer
    if choice == "text":
        return str.strip
    if is_import_path(choice):  # as a regular expression it would match only itself
        found = instantiate(import_attribute(choice, "answer_from"), choice, "answer_from")
        if not callable(found):
            raise InputError(f"answer_from {choice!r}: is {found!r:.60}; it must be a function of a text")
        return found
    try:
        pattern = re.compile(choice, re.DOTALL)
    except re.error as error:
        raise InputError(f"answer_from {choice!r}: must be auto, text, or a regular expression ({error})") from error

    def parse(text: str) -> str:
        matches = list(pattern.finditer(text))
        return (matches[-1][1 if pattern.groups else 0] or "").strip() if matches else ""

    return parse
