"""What counts as one action: one small file per kind, one protocol."""

from __future__ import annotations

import re

from ...errors import InputError
from .action import Action, Decode, Opening
from .mini_step import MiniStep
from .step import Step

__all__ = ["Action", "Decode", "MiniStep", "Opening", "Step", "action_of"]

_MINI_STEP = re.compile(r"mini-step-([1-9]\d{0,5})")


def action_of(choice: str | Action) -> Action:
    """The action that `choice` names or is: `"step"`, `"token"`, or `"mini-step-N"` for `N` tokens.

    Raises:
        InputError: There is no such action.
    """
    if isinstance(choice, Action):
        return choice
    if choice == "step":
        return Step()
    if choice == "token":
        return MiniStep(1)
    if match := _MINI_STEP.fullmatch(choice):
        return MiniStep(int(match[1]))
    raise InputError(f"action {choice!r}: must be step, mini-step-64, mini-step-32 (or another number) or token")
