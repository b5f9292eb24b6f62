"""The cases of `make gpu-tune`: for each kernel, the sizes to measure and the candidate shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from marcot.kernels import Kernels

Fields = Mapping[str, int]
"""Fields of a kernel shape; empty for the launcher's default shape."""

OWN: Fields = {}


class Case(NamedTuple):
    """A kernel at one size.

    Attributes:
        op: Name of the op in the tuning table.
        kind: Kind of the kernel in the tuning table.
        rows: Rows in the tuning table.
        columns: Columns in the tuning table.
        candidates: Shapes to try besides the launcher's default.
        make: Makes inputs on a device; returns a function from a kernel set to a call on them, which returns tensors.
    """

    op: str
    kind: str
    rows: int
    columns: int
    candidates: Sequence[Fields]
    make: Callable[[torch.device], Callable[[Kernels], Callable[[], object]]]

    @property
    def name(self) -> str:
        """The line printed while the command runs."""
        return f"{self.op}, {self.kind}, {self.rows} rows, {self.columns} columns"


def grid(**choices: Sequence[int]) -> list[Fields]:
    """All combinations of the choices."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
