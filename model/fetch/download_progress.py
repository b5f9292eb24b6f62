"""Shows the progress of a download."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_LINE_EVERY_PERCENT = 10


class DownloadProgress:
    """Shows a progress bar on a terminal, and a line for every tenth elsewhere; both on stderr."""

    def __init__(self, title: str, total: int, done: int) -> None:
        """Announce `title`: `done` of its `total` bytes have been downloaded already."""
        self._title = title
        self._total = total
        self._reached = done * 100 // total
        console = Console(file=sys.stderr)
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(title, total=total, completed=done)

    def advance_to(self, done: int) -> None:
        """Show that `done` bytes have been downloaded."""
        self._bar.update(self._task, completed=done)
        percent = done * 100 // self._total
        if not self._console.is_terminal and percent // _LINE_EVERY_PERCENT > self._reached // _LINE_EVERY_PERCENT:
            line = f"{self._title}: {done >> 20} of {self._total >> 20} MiB"
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)
            self._reached = percent

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
