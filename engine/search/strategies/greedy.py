"""A single greedy chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..protocol import Growing
from ..search_run import SearchRun
from ..strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Greedy(Strategy):
    """One chain of the most probable tokens: chain-of-thought without a search, the baseline for all strategies.

    `rollouts` is always 1 and the temperature always 0.
    """

    name: ClassVar[str] = "greedy"

    def __post_init__(self) -> None:
        """Check every range. See `Strategy`."""
        object.__setattr__(self, "rollouts", 1)
        object.__setattr__(self, "sampling", replace(self.sampling, temperature=0.0))
        super(Greedy, self).__post_init__()

    def grow(self, run: SearchRun) -> Growing[None]:
        """Write the chain."""
        yield from run.roll_out([run.tree.root])
