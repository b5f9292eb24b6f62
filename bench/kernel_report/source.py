"""Fingerprints of kernel sources: they show without compiling whether a binary is still current."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from typing import Any

from triton.runtime.jit import JITFunction

_LENGTH = 12


def fingerprint(kernel: JITFunction[Any], facts: object) -> str:
    """Return a hash of `facts`, and of the source of `kernel` and all that it calls, without comments and positions."""
    return hashlib.sha256(f"{_source(kernel)}\n{facts!r}".encode()).hexdigest()[:_LENGTH]


@cache
def _source(kernel: JITFunction[Any]) -> str:
    """Return the code of `kernel` and of the functions that it calls, and the constants that they use."""
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
