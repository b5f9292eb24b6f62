"""A console that is safe for untrusted text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from .printable import printable


class Terminal(Console):
    """A console that prints text literally: it ignores markup and emoji codes, and no control reaches the terminal.

    Tables and progress bars drawn with it need no further care. Only where a control character would take no room but
    its picture does, make the text printable first, for the sake of the layout. Live displays on it must not replace
    the standard streams, because rich would obey the colours and links in the text printed to them.
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
        """Print to `file`, to stderr (with `stderr`) or to stdout; see `rich.console.Console`."""
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
        """The segments of `renderable`, with no controls but rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
