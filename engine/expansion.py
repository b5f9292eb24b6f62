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
        node: The node to continue.
        n: Number of samples, each of which becomes a child.
        sampling: How to sample them, and when they end.
        first: Index of the first sample. Sample `i` is always the same for the same tokens, seed and parameters, so a
            second expansion of a node should start at the index where the first one ended.
    """

    node: Node
    n: int
    sampling: Sampling
    first: int = 0

    def __repr__(self) -> str:
        return brief_record(self)
