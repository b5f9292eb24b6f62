"""Shapes of prefix trees whose leaves are decoded in one batch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...model import CheckpointError
from ...model.files.fields import Fields
from ...model.files.json_file import read_json
from ..errors import InputError

_MOST_NODES = 100_000


@dataclass(frozen=True, slots=True)
class TreeShape:
    """A tree as a list of nodes, parents before children.

    Attributes:
        parents: Index of each node's parent, which comes earlier; -1 for a root.
        tokens: Number of tokens of each node.
        branches: Number of samples that continue each leaf.
    """

    parents: tuple[int, ...]
    tokens: tuple[int, ...]
    branches: int = 1

    @property
    def leaves(self) -> list[int]:
        """Indices of the nodes without children."""
        inner = set(self.parents)
        return [node for node in range(len(self.parents)) if node not in inner]

    @property
    def rows(self) -> int:
        """Number of branches decoded at once."""
        return self.branches * len(self.leaves)

    def paths(self, vocab_size: int, seed: int) -> list[list[int]]:
        """Random token ids from the root to each leaf; the same `seed` gives the same ids."""
        draw = random.Random(seed)
        down: list[list[int]] = []
        for parent, count in zip(self.parents, self.tokens, strict=True):
            above: Sequence[int] = down[parent] if parent >= 0 else ()
            down.append([*above, *(draw.randrange(vocab_size) for _ in range(count))])
        return [down[leaf] for leaf in self.leaves]


def read_tree_shape(file: Path) -> TreeShape:
    """Read a tree such as `{"parents": [null, 0, 0], "tokens": [512, 40, 25]}`.

    Raises:
        InputError: The file cannot be read, or does not describe a tree.
    """
    try:
        values = read_json(file)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    parents = values.get("parents")
    if isinstance(parents, list):
        values = {**values, "parents": [-1 if parent is None else parent for parent in parents]}
    fields = Fields(values, str(file), error=InputError)
    above, tokens = fields.integers("parents", low=-1), fields.integers("tokens", low=1)
    if not 0 < len(above) <= _MOST_NODES or len(above) != len(tokens):
        raise InputError(f"{file}: parents and tokens must have one entry for each node, and at most {_MOST_NODES}")
    if any(parent >= node for node, parent in enumerate(above)):
        raise InputError(f"{file}: parents must name an earlier node, or null for a root")
    return TreeShape(above, tokens)
