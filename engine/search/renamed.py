"""Renamed parameters of strategies and renamed methods of actions. The old names are accepted until 0.2."""

from __future__ import annotations

import warnings
from abc import ABCMeta
from collections.abc import Container, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import RenamedWarning

RENAMED: Mapping[str, str] = MappingProxyType({"lead": "vote_margin", "patience": "convergence_window"})
"""Parameters of strategies: old name -> new name. Settings in result files keep the old names, so that a run started
by an older version can be resumed."""

EARLIER_METHODS: Mapping[str, str] = MappingProxyType({"prompt": "opening", "backtrack": "retreat"})
"""Methods of `Action`, in the opposite direction: new name -> old name."""


def present_name(name: str, known: Container[str], stacklevel: int = 1) -> str:
    """Return the current name of the parameter `name`; warn if `name` is an old one.

    Args:
        name: As the user wrote it.
        known: Parameters of the strategy. A name in here is current, even if it is the old name of another parameter
            (a user's strategy may use it).
        stacklevel: Stack level of the warning; 1 is the caller.
    """
    if name in known or name not in RENAMED:
        return name
    warnings.warn(f"{name} is now called {RENAMED[name]}; the old name works until 0.2", RenamedWarning, stacklevel + 1)
    return RENAMED[name]


class RenamingMeta(ABCMeta):
    """Lets the constructor of a strategy accept old parameter names too: `MCTS(lead=0)`."""

    if not TYPE_CHECKING:  # otherwise type checkers would accept any argument

        def __call__(cls, *args: Any, **values: Any) -> Any:  # noqa: ANN401, D102
            if not RENAMED.keys().isdisjoint(values):
                own = {field.name for field in fields(cls)}
                for name in sorted(RENAMED.keys() & values.keys() - own):
                    # Overwrites the new name if both are given, as `dataclasses.replace` does.
                    values[present_name(name, own, stacklevel=2)] = values.pop(name)
            return super().__call__(*args, **values)
