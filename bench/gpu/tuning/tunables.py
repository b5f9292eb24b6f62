"""What `make gpu-tune` tries: for each kernel the sizes that are measured, and shapes that may be faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from marcot.kernels import Kernels

Fields = Mapping[str, int]
"""Fields of a launcher's shape; without any, it is the launcher's own."""

OWN: Fields = {}


class Case(NamedTuple):
    """A kernel at one size.

    Attributes:
        op: As the launcher asks the tuning table.
        kind: Same.
        rows: Same.
        columns: Same.
        candidates: Shapes to try beside the launcher's own.
        make: Makes inputs on a device, and of a kernel set a call on them, which returns a tensor or several.
    """

    op: str
    kind: str
    rows: int
    columns: int
    candidates: Sequence[Fields]
    make: Callable[[torch.device], Callable[[Kernels], Callable[[], object]]]

    @property
    def name(self) -> str:
        """For who watches."""
        return f"{self.op}, {self.kind}, {self.rows} rows, {self.columns} columns"


def grid(**choices: Sequence[int]) -> list[Fields]:
    """Every combination of the choices."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
