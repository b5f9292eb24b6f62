"""Merges the results files of a run that was split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ...model.files.strict_json import parse
from ..errors import InputError, OutputError
from .added_settings import changes
from .file_lock import lock
from .json_form import JsonObject
from .output_file import write_output
from .question_file import QuestionKey
from .results_file import entry_key, is_result


class _Place(NamedTuple):
    """Where a result line is.

    Attributes:
        position: Position of its question.
        file: Number of the file.
        start: Offset of the line's first byte.
        size: Length of the line in bytes, without the line feed.
        failed: Whether the line has an error instead of a result.
    """

    position: int
    file: int
    start: int
    size: int
    failed: bool


class MergedResults(NamedTuple):
    """Counts of a merge.

    Attributes:
        questions: Questions in the merged file.
        failed: Questions that have an error and no result.
        repeated: Lines left out because another line about the same question was kept.
        missing: How many positions before the last question's have no question, as when a shard was left out.
        first_missing: The first of them, counted from 1; None if there are none.
    """

    questions: int
    failed: int
    repeated: int
    missing: int = 0
    first_missing: int | None = None


def merge_results(paths: Sequence[Path], out: Path) -> MergedResults:
    """Write the results of all files in the order of their questions, each question once.

    A result is preferred to an error, and the first of several results is kept. An incomplete last line, as a crash
    leaves it, is skipped.

    Args:
        paths: Files that `marcot search --out` wrote, with equal settings.
        out: The merged file; it is written completely or not at all, and may be one of `paths`.

    Raises:
        InputError: A file cannot be read, has lines of another kind, or was made with other settings than the first; or
            a run is writing to `out`.
        OutputError: `out` cannot be written.
    """
    with _locked(out):
        return _merge(paths, out)


def _merge(paths: Sequence[Path], out: Path) -> MergedResults:
    """See `merge_results`."""
    kept: dict[QuestionKey, _Place] = {}
    settings: tuple[str, Any] | None = None
    lines = 0
    for number, path in enumerate(paths):
        for where, entry, start, size in _lines(path):
            if settings is None:
                settings = where, entry["settings"]
            differing = changes(settings[1], entry["settings"])
            if differing:
                # A strategy brings parameters of its own, which differ as well.
                name, was, now = next((each for each in differing if each[0] == "strategy"), differing[0])
                raise InputError(
                    f"{where}: was made with {name} = {now!r}, but {settings[0]} with {was!r}; merge only results of "
                    "the same settings"
                )
            lines += 1
            place = _Place(entry["index"], number, start, size, "error" in entry)
            before = kept.setdefault(entry_key(entry), place)
            if before.failed and not place.failed:
                kept[entry_key(entry)] = place
    if not kept:
        raise InputError(f"{', '.join(map(str, paths))}: there are no results to merge")
    places = sorted(kept.values())
    write_output(out, _contents(paths, places))
    positions = {place.position for place in places}
    missing = places[-1].position + 1 - len(positions)
    return MergedResults(
        questions=len(places),
        failed=sum(place.failed for place in places),
        repeated=lines - len(places),
        missing=missing,
        first_missing=next(number + 1 for number in count() if number not in positions) if missing else None,
    )


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Lock `out` if it exists: what a run still wrote to it would be lost with the replaced file."""
    if not out.is_file():
        yield
        return
    try:
        file = out.open("ab")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from error
    with file:
        lock(file, f"{out}: a run is writing to it; wait for it, or give --out another file")
        yield


def _lines(path: Path) -> Iterator[tuple[str, JsonObject, int, int]]:
    """Each result of a file: its place for messages, the parsed line, and the line's offset and length in bytes."""
    start = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                where, text = f"{path}, line {number}", line.rstrip(b"\r\n")
                try:
                    entry = parse(text)
                except ValueError as error:
                    if not line.endswith(b"\n") and number > 1:
                        return
                    raise InputError(f"{where}: {error}") from None
                if not is_result(entry):
                    raise InputError(f"{where}: is not a result of marcot search")
                yield where, entry, start, len(text)
                start += len(line)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _contents(paths: Sequence[Path], places: Sequence[_Place]) -> Iterator[bytes]:
    """The lines at `places`, one after another."""
    files = [path.open("rb") for path in paths]
    try:
        for place in places:
            files[place.file].seek(place.start)
            yield files[place.file].read(place.size) + b"\n"
    finally:
        for file in files:
            file.close()
