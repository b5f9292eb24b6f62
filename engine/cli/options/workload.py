"""The options that say what `marcot bench` times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_PANEL = "What is timed"
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class WorkloadOptions:
    """What is timed, and how often."""

    branches: Annotated[
        str, typer.Option(metavar="N,...", help="Branches decoded at once, below one prefix.", rich_help_panel=_PANEL)
    ] = "1,8,32"
    prefix: Annotated[
        str, typer.Option(metavar="N,...", help="Lengths of the prefix, in tokens.", rich_help_panel=_PANEL)
    ] = "512"
    tokens: Annotated[int, typer.Option(min=1, help="Tokens decoded on each branch.", rich_help_panel=_PANEL)] = 32
    prefill: Annotated[
        str, typer.Option(metavar="N,...", help="Lengths of the prompts to compute, in tokens.", rich_help_panel=_PANEL)
    ] = "512"
    tree: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Also decode below every leaf of a tree: {"parents": [null, 0, 0], "tokens": [512, 40, 25]}.',
            rich_help_panel=_PANEL,
        ),
    ] = None
    rollouts: Annotated[
        int, typer.Option(min=0, help="Rollouts of a search by MCTS; 0 for no search.", rich_help_panel=_PANEL)
    ] = 0
    transformers: Annotated[
        bool,
        typer.Option(
            "--transformers",
            help="Also time transformers, if it is installed: in fp32, or in bf16 on a GPU.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    repeat: Annotated[
        int, typer.Option(min=1, help="How often each is timed; the median is reported.", rich_help_panel=_PANEL)
    ] = 5

    @property
    def prompts(self) -> list[int]:
        """Lengths of the prompts to compute."""
        return _numbers("--prefill", self.prefill)

    @property
    def forks(self) -> list[tuple[int, int]]:
        """Every length of prefix with every number of branches."""
        counts = _numbers("--branches", self.branches)
        return [(length, count) for length in _numbers("--prefix", self.prefix) for count in counts]


def _numbers(option: str, text: str) -> list[int]:
    """The comma-separated positive integers in `text`."""
    from ...errors import InputError

    parts = [part.strip() for part in text.split(",")]
    if not all(len(part) <= _MOST_DIGITS and part.isascii() and part.isdecimal() and int(part) for part in parts):
        raise InputError(f"{option} {text}: must be whole numbers above 0 with commas between them, such as 1,8,32")
    return [int(part) for part in parts]
