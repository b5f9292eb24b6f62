"""Work that goes on between the steps of the scheduler."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

E = TypeVar("E")
T = TypeVar("T")

Routine: TypeAlias = "Generator[E | None, None, T]"
"""Yields None where it waits for a step of the scheduler, and events (`E`) in between; returns what it was asked for.

Any number of them share the steps. Whoever runs one resumes it after each step; where one is closed, or an error is
thrown into it, it gives up what it has under way.
"""
