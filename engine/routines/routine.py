"""The type of work that runs between the steps of the scheduler."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

IDLE_S = 0.1
"""Seconds that the runner of routines waits for news at a time: they also look at the clock, for deadlines and reports
of progress."""

E = TypeVar("E")
T = TypeVar("T")

Routine: TypeAlias = "Generator[E | None, None, T]"
"""A generator that yields None to wait for a step of the scheduler, yields events (`E`) in between, and returns `T`.

Any number of routines share the steps. Their runner resumes each of them after every step; if there is nothing to run
in a step, it waits for `Routines.news` first, for at most `IDLE_S`. A routine that is closed, or that has an error
thrown into it, cancels its running work.
"""
