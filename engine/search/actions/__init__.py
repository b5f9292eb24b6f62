"""Actions: what one node adds to its parent. One base class, and one file per kind of action."""

from __future__ import annotations

import re
from pathlib import Path

from ...checking import refuse_class
from ...errors import InputError
from ..user_import import import_attribute, instantiate, is_import_path
from .action import Action, ActionPrompt, Decode, Opening
from .action_file import read_actions
from .checked_action import CheckedAction
from .guided import GuidedActions, Kind
from .marco_v2 import MARCO_V2
from .mini_step import MiniStep
from .step import Step
from .uncertain import Uncertain

__all__ = [
    "MARCO_V2",
    "Action",
    "ActionPrompt",
    "CheckedAction",
    "Decode",
    "GuidedActions",
    "Kind",
    "MiniStep",
    "Opening",
    "Step",
    "Uncertain",
    "read_actions",
    "resolve_action",
]

_NAMED: dict[str, Action] = {action.name: action for action in (Step(), MiniStep(1), MARCO_V2)}
_MINI_STEP = re.compile(r"mini-step-([1-9]\d{0,5})")
_UNCERTAIN = re.compile(r"uncertain-([1-9]\d{0,3})")


def resolve_action(choice: str | Action) -> Action:
    """The action that `choice` names, or `choice` itself.

    Names are `"step"`, `"token"`, `"mini-step-N"` for `N` tokens, `"uncertain-N"` for forks at the `N` least certain
    tokens, `"marco-v2"`, `FILE.toml` for your own kinds, and `module:name` for your own `Action`.

    Raises:
        InputError: There is no such action, or `choice` is neither a name nor an action.
    """
    if isinstance(choice, Action):
        return choice
    refuse_class("action", choice, Action)
    if not isinstance(choice, str):
        raise InputError(f"action={choice!r}: must be a name or an Action")
    if choice in _NAMED:
        return _NAMED[choice]
    if match := _MINI_STEP.fullmatch(choice):
        return MiniStep(int(match[1]))
    if match := _UNCERTAIN.fullmatch(choice):
        return Uncertain(int(match[1]))
    if choice.endswith(".toml"):
        return read_actions(Path(choice))
    if is_import_path(choice):
        found = instantiate(import_attribute(choice, "action"), choice, "action")
        if not isinstance(found, Action):
            raise InputError(f"action {choice!r}: is {found!r:.60}; it must be a class derived from Action")
        return found
    raise InputError(
        f"action {choice!r}: must be step, mini-step-64, mini-step-32 (or another number), token, uncertain-8 (or "
        "another number), marco-v2, a .toml file that declares kinds of actions, or your own action as module:name"
    )
