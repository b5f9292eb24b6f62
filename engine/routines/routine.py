"""The type of work that runs between the steps of the scheduler."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

E = TypeVar("E")
T = TypeVar("T")

Routine: TypeAlias = "Generator[E | None, None, T]"
"""A generator that yields None to wait for a step of the scheduler, yields events (`E`) in between, and returns `T`.

Any number of routines share the steps. Their runner resumes each of them after every step; a routine that is closed,
or that has an error thrown into it, cancels its running work.
"""
