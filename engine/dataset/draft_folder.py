"""A folder whose files may take several runs to write, and which appears as a whole once they are finished."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Any, Self

from ...model.files import strict_json
from ...model.files.atomic_file import sync_folder
from ...model.files.fields import MAX_COUNT, Fields
from ...model.files.working_file import working_names
from ..errors import InputError, OutputError
from ..results.file_lock import lock
from .append_only_file import AppendOnlyFile, FileMark

State = Mapping[str, Any]

_MARK = b"marcot dataset writes here; when the data set is finished this folder goes.\n"
"""Contents of the file `lock`, which identify the folder as a draft of ours."""

_LOCK, _NOTES, _CHECKPOINT, _FRESH, _FILES = "lock", "notes", "checkpoint.json", "checkpoint.new", "files"
_OWN = (_LOCK, _NOTES, _CHECKPOINT, _FRESH)


class DraftFolder:
    """Append-only files in `NAME.partial`, next to their final place.

    A checkpoint records what each file held at one moment, and the state that the writer needs to continue from there.
    Opening the folder again truncates every file to the checkpoint: what a killed run wrote after it is written again.
    A folder is left untouched if it is not a draft of marcot, holds anything else, or does not match its checkpoint.

    Attributes:
        state: The state saved in the last checkpoint; None if there is no checkpoint yet.
    """

    def __init__(self, final: Path, identity: str, names: Collection[str] = ()) -> None:
        """Open the draft of `final`, or create it.

        Args:
            final: Path of the finished folder.
            identity: Identifies the output: equal for runs that write the same bytes.
            names: The files that may be written, as relative paths.

        Raises:
            InputError: The folder is not a draft of marcot or is damaged, another run is writing to it, or it was
                started with a different identity.
            OutputError: The folder cannot be written.
        """
        self._final = final
        self._folder = _folder(final)
        self._identity = identity
        self._names = set(names)
        self._files: dict[str, AppendOnlyFile] = {}
        try:
            if not os.path.lexists(self._folder):
                _make(self._folder)
            if not _is_draft(self._folder):
                raise InputError(
                    f"{self._folder}: already exists and is not a draft of marcot; move it, or give another --out"
                )
            self._lock = (self._folder / _LOCK).open("ab")
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written: {error.strerror}") from error
        lock(self._lock, f"{self._folder}: another run is writing there; wait for it, or give another --out")
        try:
            self._check_entries()
            self.state = self._restore()
        except OSError as error:
            self._close()
            raise InputError(f"{self._folder}: a run cannot resume from it: {error.strerror}") from error
        except BaseException:
            self._close()
            raise

    def append(self, name: str, data: bytes) -> None:
        """Append `data` to the file `name`, a relative path.

        Raises:
            OutputError: The file cannot be written.
        """
        with self._writing():
            if name not in self._files:
                self._files[name] = AppendOnlyFile(self._folder / _FILES / name)
            self._files[name].append(data)

    def note(self, data: bytes) -> None:
        """Append `data` to the notes, which are kept between runs but are not part of the finished folder."""
        self.append(f"../{_NOTES}", data)

    def notes(self) -> bytes:
        """All notes up to the last checkpoint."""
        path = self._folder / _NOTES
        return path.read_bytes() if path.exists() else b""

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a checkpoint of the files as they are now, with `state`, which must be serialisable as JSON.

        Raises:
            OutputError: The checkpoint cannot be written.
        """
        with self._writing():
            files = {name: file.sync()._asdict() for name, file in sorted(self._files.items())}
            saved = {"identity": self._identity, "files": files, "state": dict(state)}
            text = json.dumps({**saved, "sha256": _digest(saved)})
            fresh = self._folder / _FRESH
            _write(fresh, text.encode())
            fresh.replace(self._folder / _CHECKPOINT)

    def finish(self, whole: Mapping[str, str]) -> None:
        """Write the last files, and move the folder to its final place.

        Args:
            whole: Texts by relative path.

        Raises:
            OutputError: A file cannot be written.
        """
        with self._writing():
            files = self._folder / _FILES
            for file in self._files.values():
                file.sync()
                file.close()
            for name, text in whole.items():
                _write(files / name, text.encode(errors="backslashreplace"))
            for folder in {files, *((files / name).parent for name in self._files)}:
                sync_folder(folder)
            files.replace(self._final)
            sync_folder(self._final.parent)
            _remove(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for close in (*(file.close for file in self._files.values()), self._lock.close):
            # Bytes that cannot be flushed now are not in a checkpoint either.
            with suppress(OSError):
                close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._folder}: {error.strerror}; fix this and run the same command again to resume"
            ) from error

    def _check_entries(self) -> None:
        """Check that the folder holds nothing but the files of a draft."""
        folders = {Path(_FILES), *(parent for name in self._names for parent in (Path(_FILES) / name).parents)}
        files = {Path(name) for name in _OWN} | {Path(_FILES) / name for name in self._names}
        for path in sorted(self._folder.rglob("*")):
            entry = path.relative_to(self._folder)
            known = entry in folders if path.is_dir() else entry in files and path.is_file()
            if not known or path.is_symlink():
                raise InputError(f"{path}: is not part of a draft of marcot; move it, or give another --out")

    def _restore(self) -> State | None:
        """Truncate the files to the last checkpoint, and return its state."""
        paths = {name: self._folder / _FILES / name for name in (f"../{_NOTES}", *sorted(self._names))}
        checkpoint = self._folder / _CHECKPOINT
        state: State | None = None
        if checkpoint.exists():
            saved = _read(checkpoint)
            if saved is None:
                raise InputError(
                    f"{checkpoint}: is damaged, or of another version; remove {self._folder}, or give another --out"
                )
            if saved.text("identity") != self._identity:
                raise InputError(
                    f"{self._folder}: was started with other options, sources or tokenizer; use the same, "
                    "remove it, or give another --out"
                )
            for name, mark in saved.sections("files"):
                held = FileMark(mark.integer("size", low=0, high=MAX_COUNT), mark.text("sha256"))
                file = AppendOnlyFile.cut_back(paths[name], held) if name in paths and paths[name].exists() else None
                if file is None:
                    raise InputError(
                        f"{self._folder}: {name} does not match the checkpoint; remove the folder, or give another "
                        "--out"
                    )
                self._files[name] = file
            state = saved.section("state").values
        for name, path in paths.items():
            if name in self._files:
                self._files[name].drop_rest()
            else:
                path.unlink(missing_ok=True)
        return state


def discard_draft(final: Path) -> None:
    """Remove the remains of the draft of `final`, which is finished; anything else is left alone."""
    folder = _folder(final)
    if os.path.lexists(folder) and _is_draft(folder) and not (folder / _FILES).exists():
        _remove(folder)


def _folder(final: Path) -> Path:
    return final.with_name(final.name + ".partial")


def _make(folder: Path) -> None:
    """Create an empty draft that has its mark from the start."""
    with working_names([folder]) as [fresh]:
        try:
            (fresh / _FILES).mkdir(parents=True)
            (fresh / _LOCK).write_bytes(_MARK)
            fresh.rename(folder)
        except BaseException:
            rmtree(fresh, ignore_errors=True)
            raise


def _write(path: Path, data: bytes) -> None:
    """Write a file of the draft, and sync it to disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _is_draft(folder: Path) -> bool:
    """Whether `folder` is a draft of ours: it has our mark or, if an older version made it, a valid checkpoint."""
    try:
        if folder.is_symlink() or not (folder / _LOCK).is_file():
            return False
        return (folder / _LOCK).read_bytes() == _MARK or _read(folder / _CHECKPOINT) is not None
    except OSError:
        return False


def _read(checkpoint: Path) -> Fields | None:
    """The contents of `checkpoint`; None if it is no checkpoint, or its digest does not match."""
    try:
        saved = strict_json.read(checkpoint)
    except ValueError:
        return None
    digest = saved.pop("sha256", None) if isinstance(saved, dict) else None
    whole = digest is not None and digest == _digest(saved)
    return Fields(saved, str(checkpoint), error=InputError) if whole else None


def _digest(saved: Mapping[str, Any]) -> str:
    """SHA-256 of a checkpoint's contents, to detect damage."""
    return hashlib.sha256(json.dumps(saved, sort_keys=True).encode()).hexdigest()


def _remove(folder: Path) -> None:
    """Remove the draft's own files and its folder; the folder stays if it holds anything else."""
    for name in _OWN:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
