"""Consoles that show text of anybody's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from .printable import printable


class Terminal(Console):
    """A console that prints text as it is: no markup or emoji code in it counts, and no control reaches the terminal.

    What draws with it, tables and progress bars included, needs no care of its own; only where a control would take no
    room but its picture does, text is made printable before, for the layout's sake. What is live on it must not take
    the place of the standard streams: rich would obey the colours and links in what is printed to them.
    """

    def __init__(
        self,
        file: IO[str] | None = None,
        *,
        stderr: bool = False,
        width: int | None = None,
        force_terminal: bool | None = None,
        no_color: bool | None = None,
    ) -> None:
        """Print to `file`, or to stdout, or with `stderr` there; see `rich.console.Console`."""
        super().__init__(
            file=file,
            stderr=stderr,
            width=width,
            force_terminal=force_terminal,
            no_color=no_color,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What `renderable` consists of; the controls are those of rich itself."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
