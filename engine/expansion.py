"""What a search asks the engine to sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .sampling.sampling import Sampling
from .text.brief import brief_record

if TYPE_CHECKING:
    from .node import Node


class Expansion(NamedTuple):
    """Sample `n` independent continuations of `node`.

    Attributes:
        node: The state to continue.
        n: How many children to sample.
        sampling: How to sample each of them, and when it ends.
        first: Index of the first sample. Sample `i` of the same tokens, seed and parameters is always the same
            continuation, so a second expansion of a node should start where the first one ended.
    """

    node: Node
    n: int
    sampling: Sampling
    first: int = 0

    def __repr__(self) -> str:
        return brief_record(self)
