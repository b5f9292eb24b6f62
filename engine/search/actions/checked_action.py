"""Checks the results of a user's own action."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from ...checking import check_flag, check_integer, check_texts
from ...errors import InputError, RenamedWarning
from ..renamed import EARLIER_METHODS
from ..user_code import UserCode
from .action import Action, ActionPrompt, Decode


class CheckedAction(Action):
    """Wraps a user's action and checks its results.

    If the action raises an error or returns something invalid, a `CallableError` that names the method is raised.
    """

    def __init__(self, action: Action, code: UserCode) -> None:
        """Wrap `action`; errors name the question of `code`."""
        self._action = action
        self._code = code
        with self._calling("name"):
            self._name = action.name

    def _calling(self, method: str) -> AbstractContextManager[None]:
        return self._code.calling(f"action {type(self._action).__qualname__}.{method}")

    def _present_or_earlier(self, method: str) -> str:
        """The name that the action uses for `method`: a user's class may still use the old name."""
        earlier = EARLIER_METHODS[method]
        if not hasattr(type(self._action), earlier):
            return method
        warnings.warn(
            f"{type(self._action).__qualname__}.{earlier} is now called {method}; the old name works until 0.2",
            RenamedWarning,
            stacklevel=3,
        )
        return earlier

    @property
    def name(self) -> str:
        """See `Action.name`."""
        return self._name

    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """See `Action.cut`."""
        total = len(token_ids)
        with self._calling("cut"):
            ends = [
                check_integer("an end", end, f"an integer from 0 to {total}", least=0, most=total)
                for end in self._action.cut(token_ids, decode, confidences)
            ]
            if ends != sorted(ends) or (total and ends[-1:] != [total]):
                raise InputError(f"{ends} must be the ends of the actions of {total} tokens, increasing up to {total}")
        return ends

    @property
    def max_tokens(self) -> int | None:
        """See `Action.max_tokens`."""
        with self._calling("max_tokens"):
            return _count("max_tokens", self._action.max_tokens)

    @property
    def stops(self) -> tuple[str, ...]:
        """See `Action.stops`."""
        with self._calling("stops"):
            return check_texts("stops", self._action.stops)

    @property
    def guided(self) -> bool:
        """See `Action.guided`."""
        with self._calling("guided"):
            return check_flag("guided", self._action.guided)

    def prompt(self, kinds: Sequence[str], sample: int) -> ActionPrompt | None:
        """See `Action.prompt`."""
        name = self._present_or_earlier("prompt")
        with self._calling(name):
            prompt = getattr(self._action, name)(kinds, sample)
            return None if prompt is None else _prompt(prompt)

    def width(self, kinds: Sequence[str]) -> int | None:
        """See `Action.width`."""
        with self._calling("width"):
            return _count("width", self._action.width(kinds))

    def backtrack(self) -> tuple[int, ActionPrompt] | None:
        """See `Action.backtrack`."""
        name = self._present_or_earlier("backtrack")
        with self._calling(name):
            backtrack = getattr(self._action, name)()
            if backtrack is None:
                return None
            levels, prompt = backtrack
            return check_integer("levels", levels, "an integer >= 1", least=1), _prompt(prompt)


def _count(name: str, count: int | None) -> int | None:
    return None if count is None else check_integer(name, count, "None or an integer >= 1", least=1)


def _prompt(prompt: ActionPrompt) -> ActionPrompt:
    if not isinstance(prompt, ActionPrompt):
        raise InputError(f"{prompt!r} must be an ActionPrompt")
    if not isinstance(prompt.text, str) or not isinstance(prompt.kind, str):
        raise InputError(f"{prompt!r} must have a text and a kind that are strings")
    longest = check_integer("max_tokens", prompt.max_tokens, "an integer >= 1", least=1)
    return prompt._replace(close=check_texts("close", prompt.close), max_tokens=longest)
