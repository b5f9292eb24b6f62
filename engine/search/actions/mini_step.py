"""Actions of a fixed number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...checking import check_count
from .action import Action, Decode


@dataclass(frozen=True, slots=True)
class MiniStep(Action):
    """An action of `tokens` tokens; the paper uses mini-steps of 64 and 32.

    Attributes:
        tokens: Number of tokens of an action. With 1, every token is a node.
    """

    tokens: int

    def __post_init__(self) -> None:
        """Check `tokens`.

        Raises:
            InputError: It is not an integer >= 1.
        """
        object.__setattr__(self, "tokens", check_count("tokens", self.tokens, "an integer >= 1", least=1))

    @property
    def name(self) -> str:
        """`"mini-step-64"`, or `"token"`."""
        return "token" if self.tokens == 1 else f"mini-step-{self.tokens}"

    @property
    def max_tokens(self) -> int:
        """Tokens of an action."""
        return self.tokens

    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """See `Action.cut`."""
        total = len(token_ids)
        return [*range(self.tokens, total, self.tokens), total] if total else []
