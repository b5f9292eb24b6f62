"""Statistics of a run, as JSON lines for monitoring."""

from __future__ import annotations

import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from .json_form import JsonObject, to_line
from .output_file import append_all, check_replaceable
from .pace import Pace

if TYPE_CHECKING:
    from .question_run import QuestionSearcher

SECONDS_BETWEEN = 10.0
"""Seconds between two lines: often enough to notice that a run stalls; 360 lines per hour."""

_BEGINNING = b'{"seconds": '


class RunStatistics:
    """Appends a line every `SECONDS_BETWEEN` seconds, and one at the end.

    A line holds `seconds` since the start of this run; the questions that are `finished`, `open` and `not_started`;
    `questions_per_s`; `tokens` drawn and `tokens_per_s`; `prefill_tokens`, `reused_tokens`, `recomputed_tokens` and
    `preemptions` as `Usage` counts them; `hit_rate`, the share of tokens above forks that were found in the cache;
    `kv_pages` in use and `kv_capacity`; and `seconds_left`, which is null while there is no estimate.
    """

    def __init__(self, path: Path, pace: Pace, engine: QuestionSearcher) -> None:
        """Open `path` to append to.

        Args:
            path: The file, see `check_statistics_file`.
            pace: The progress of the run; the caller updates it.
            engine: The engine whose work is counted, from now on.

        Raises:
            OutputError: The file cannot be written.
        """
        self._path = path
        self._pace = pace
        self._engine = engine
        self._before = engine.usage.copy()
        self._last = time.monotonic()
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def tick(self) -> None:
        """Write a line if enough time has passed since the last one.

        Raises:
            OutputError: The file cannot be written any more.
        """
        if time.monotonic() - self._last >= SECONDS_BETWEEN:
            self._write()

    def close(self) -> None:
        """Write the last line.

        Raises:
            OutputError: The file cannot be written any more.
        """
        with self._file:
            self._write()

    def _write(self) -> None:
        self._last = time.monotonic()
        line = to_line(self._line()).encode() + b"\n"
        try:
            append_all(self._file, line)
        except OSError as error:
            raise OutputError(
                f"{self._path}: {error.strerror}; fix this and run the same command again to resume"
            ) from error

    def _line(self) -> JsonObject:
        pace, (pages, capacity) = self._pace, self._engine.kv_pages
        used = self._engine.usage.since(self._before)
        wanted = used.prefill_tokens + used.reused_tokens + used.recomputed_tokens
        return {
            "seconds": round(pace.seconds, 3),
            "finished": pace.finished,
            "open": len(pace.open),
            "not_started": pace.not_started,
            "questions_per_s": pace.finished / pace.seconds,
            "tokens": used.generated_tokens,
            "tokens_per_s": used.generated_tokens / pace.seconds,
            "prefill_tokens": used.prefill_tokens,
            "reused_tokens": used.reused_tokens,
            "recomputed_tokens": used.recomputed_tokens,
            "hit_rate": used.reused_tokens / wanted if wanted else None,
            "preemptions": used.preemptions,
            "kv_pages": pages,
            "kv_capacity": capacity,
            "seconds_left": pace.seconds_left,
        }


def check_statistics_file(path: Path) -> None:
    """Check that appending statistics to `path` would not spoil a file of another kind.

    Raises:
        InputError: It would, or the file cannot be read.
    """
    with suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return  # there is nothing in it to spoil
    check_replaceable(
        path, lambda head: head.startswith(_BEGINNING), "statistics of marcot search", "give --stats-out another file"
    )
