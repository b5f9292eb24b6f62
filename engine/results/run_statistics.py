"""Statistics of a run, as JSON lines for monitoring."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import OutputError
from .json_form import JsonObject, to_line
from .pace import Pace

if TYPE_CHECKING:
    from .question_run import QuestionSearcher

SECONDS_BETWEEN = 10.0
"""Seconds between two lines: often enough to notice that a run stalls; 360 lines per hour."""


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
            path: The file.
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
            self._file: IO[str] = path.open("a", encoding="utf-8")
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
        self._write()
        self._file.close()

    def _write(self) -> None:
        self._last = time.monotonic()
        try:
            self._file.write(to_line(self._line()) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error

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
