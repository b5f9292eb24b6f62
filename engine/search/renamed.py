"""Parameters of strategies and methods of actions by their earlier names, which are taken until 0.2."""

from __future__ import annotations

import warnings
from abc import ABCMeta
from collections.abc import Container, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import RenamedWarning

RENAMED: Mapping[str, str] = MappingProxyType({"lead": "vote_margin", "patience": "convergence_window"})
"""Each earlier name with the present one. Settings in result files keep the earlier ones, so that runs can go on."""

EARLIER_METHODS: Mapping[str, str] = MappingProxyType({"prompt": "opening", "backtrack": "retreat"})
"""Each method of an `Action` that had another name, with that name."""


def present_name(name: str, known: Container[str], stacklevel: int = 1) -> str:
    """What the parameter `name` is called now; an earlier name is warned of.

    Args:
        name: As a user wrote it.
        known: Parameters that the strategy has: one of a user's own may be called as another one was.
        stacklevel: Of the warning; 1 is the caller.
    """
    if name in known or name not in RENAMED:
        return name
    warnings.warn(f"{name} is now called {RENAMED[name]}; the old name works until 0.2", RenamedWarning, stacklevel + 1)
    return RENAMED[name]


class RenamingMeta(ABCMeta):
    """Makes strategies from parameters by their earlier names as well: `MCTS(lead=0)`."""

    if not TYPE_CHECKING:  # or type checkers would take every argument

        def __call__(cls, *args: Any, **values: Any) -> Any:  # noqa: ANN401, D102
            if not RENAMED.keys().isdisjoint(values):
                own = {field.name for field in fields(cls)}
                for name in sorted(RENAMED.keys() & values.keys() - own):
                    # In place of the present one, which `dataclasses.replace` gives too.
                    values[present_name(name, own, stacklevel=2)] = values.pop(name)
            return super().__call__(*args, **values)
