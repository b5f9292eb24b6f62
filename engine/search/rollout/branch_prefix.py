"""A prefix of a generated branch."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ...node import Node


class BranchPrefix(NamedTuple):
    """The first `end` tokens of `branch`."""

    branch: Node
    end: int

    @staticmethod
    def whole(branch: Node) -> BranchPrefix:
        """All tokens of `branch`."""
        return BranchPrefix(branch, len(branch.token_ids))

    @property
    def token_ids(self) -> list[int]:
        """Its tokens."""
        ids: list[int] = self.branch.token_ids[: self.end].tolist()
        return ids

    @property
    def length(self) -> int:
        """Tokens from the root of the KV tree to its end."""
        return self.branch.length - len(self.branch.token_ids) + self.end

    @property
    def given(self) -> bool:
        """Whether its tokens were given to the model, not drawn from it."""
        return self.branch.finish_reason is None

    @property
    def drawn(self) -> int:
        """How many of its tokens the model drew: all of them or none."""
        return 0 if self.given else self.end

    def state(self, held: ExitStack) -> Node:
        """The KV tree node at its end; if a new node is made for this, it is released when `held` closes."""
        if self.end == len(self.branch.token_ids):
            return self.branch
        return held.enter_context(self.branch.prefix(self.end))
