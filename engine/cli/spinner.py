"""A spinner for the time in which a command has no progress to show yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Show a spinner with the text `what` on stderr, if that is a terminal."""
    from rich.live import Live
    from rich.spinner import Spinner

    from ..text.terminal import Terminal

    console = Terminal(stderr=True)
    if not console.is_terminal:
        yield
        return
    dots = Spinner("dots", what, style="green")
    with Live(
        dots, console=console, refresh_per_second=12.5, transient=True, redirect_stdout=False, redirect_stderr=False
    ):
        yield
