"""The progress bar and the summary of `marcot dataset`."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ...dataset import BuildResult
from ...results.pace import time_left
from ...text.terminal import Terminal

PLAIN_LINE_EVERY = 30.0
"""Seconds between two lines if stderr is not a terminal."""


class ProgressBar:
    """On a terminal, a progress bar on stderr for each stage; elsewhere, a line now and then."""

    def __init__(self) -> None:
        self._console = console = Terminal(stderr=True)
        self._last_line = time.monotonic()
        self._begun: dict[str, tuple[int, float]] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` items of `stage` are done."""
        now = time.monotonic()
        # Items done before the first call do not count towards the speed, because a run may resume another.
        first, started = self._begun.setdefault(stage, (done, now))
        if not self._progress.disable:
            if stage not in self._tasks:
                self._tasks[stage] = self._progress.add_task(stage, total=total, completed=done)
            self._progress.update(self._tasks[stage], completed=done, total=total)
        elif now - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = now
            left = (now - started) / (done - first) * (total - done) if done > first else None
            # If progress messages cannot be written, the run still goes on.
            with suppress(OSError):
                line = f"{stage}: {done} of {total} ({done / max(total, 1):.0%}), {time_left(left)}"
                self._console.print(line, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()


def report(produced: BuildResult, out: Path) -> str:
    """A summary of the data set, in a few lines."""
    tally = produced.summary["tally"]
    lines = []
    if produced.was_there:
        lines.append(f"{out} already exists, made from the same sources with the same options")
    elif produced.resumed_at:
        lines.append(f"resumed at question {produced.resumed_at + 1}")
    traces, good = tally["passed"].get("traces", 0), tally["passed"].get("good", 0)
    lines.append(f"{produced.questions} questions, {traces} traces, {good} of them pass all filters")
    dropped = [
        f"{name} {count}" for name, count in sorted(tally["dropped"].items(), key=lambda item: -item[1]) if count
    ]
    if dropped:
        lines.append(f"dropped: {', '.join(dropped)}")
    counted = produced.summary["options"]["tokenizer"] is not None
    for key, count in sorted(tally["records"].items()):
        if count:
            tokens = f", {tally['tokens'].get(key, 0)} tokens" if counted else ""
            lines.append(f"{out / key}.jsonl: {count} records of {tally['questions'].get(key, 0)} questions{tokens}")
    if not any(tally["records"].values()):
        lines.append(f"nothing passed the filters; {out / 'README.md'} says what each filter dropped")
    if not counted:
        lines.append("tokens are not counted; name a model with --tokenizer to count them")
    return "\n".join(lines)
