"""A fingerprint of what a kernel is compiled from, to know without compiling whether its binary is still the same."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from typing import Any

from triton.runtime.jit import JITFunction

_LENGTH = 12


def fingerprint(kernel: JITFunction[Any], facts: object) -> str:
    """Of the source of `kernel` and of all that it calls, without comments and places in files, and of `facts`."""
    return hashlib.sha256(f"{_source(kernel)}\n{facts!r}".encode()).hexdigest()[:_LENGTH]


@cache
def _source(kernel: JITFunction[Any]) -> str:
    """The code of `kernel`, of the functions that it calls, and the constants that they name."""
    parts: dict[str, str] = {}
    _collect(kernel, parts)
    return "\n".join(f"{name} = {text}" for name, text in sorted(parts.items()))


def _collect(function: JITFunction[Any], parts: dict[str, str]) -> None:
    place = f"{function.module}.{function.__name__}"
    if place in parts:
        return
    tree = function.parse()
    body = tree.body[0].body
    if ast.get_docstring(tree.body[0]) is not None:
        body.pop(0)
    parts[place] = ast.unparse(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name):
            continue
        value = function.__globals__.get(node.id)
        if isinstance(value, JITFunction):
            _collect(value, parts)
        elif hasattr(value, "value") or isinstance(value, int | float):
            parts[f"{function.module}.{node.id}"] = repr(getattr(value, "value", value))
