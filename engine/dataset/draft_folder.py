"""A folder of files that are written over several runs, and appear at once when they are finished."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from ...model.strict_json import parse
from ..errors import InputError, OutputError
from ..file_lock import lock

State = dict[str, Any]

_MARK = b"marcot dataset writes here; when the data set is finished this folder goes.\n"
"""What the file `lock` says, so that the folder is known as ours."""

_LOCK, _NOTES, _CHECKPOINT, _FRESH, _FILES = "lock", "notes", "checkpoint.json", "checkpoint.new", "files"
_OWN = (_LOCK, _NOTES, _CHECKPOINT, _FRESH)


class DraftFolder:
    """Files that only grow, beside their final place in `NAME.partial`.

    A checkpoint says how long each file was at one moment, and what the writer has to know to go on from there. Opening
    the folder again cuts every file back to it: what a killed run wrote later is written anew. A folder that is not
    known as a draft, or has anything else in it, is not touched.

    Attributes:
        state: What the last checkpoint said; None if there is none yet.
    """

    def __init__(self, final: Path, identity: str, names: Collection[str] = ()) -> None:
        """Open the draft of `final`, or make it.

        Args:
            final: Where the files go in the end.
            identity: Equal for runs that write the same bytes.
            names: The files that may be written, as relative paths.

        Raises:
            InputError: It is somebody else's or cannot be written, another run writes to it, or its bytes are others.
        """
        self._final = final
        self._folder = _folder(final)
        self._identity = identity
        self._names = set(names)
        self._files: dict[str, BinaryIO] = {}
        try:
            if not os.path.lexists(self._folder):
                _make(self._folder)
            if not _is_draft(self._folder):
                raise InputError(
                    f"{self._folder}: is there already and is no draft of ours; move it, or give another --out"
                )
            self._lock = (self._folder / _LOCK).open("ab")
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be written: {error.strerror}") from error
        lock(self._lock, f"{self._folder}: another run is writing there; wait for it, or give another --out")
        try:
            self._check_entries()
            self.state = self._restore()
        except BaseException:
            self._close()
            raise

    def append(self, name: str, data: bytes) -> None:
        """Add `data` to the file `name`, a relative path.

        Raises:
            OutputError: It cannot be written.
        """
        with self._writing():
            if name not in self._files:
                path = self._folder / _FILES / name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._files[name] = path.open("ab")
            self._files[name].write(data)

    def note(self, data: bytes) -> None:
        """Add `data` to what is kept between runs, and is no part of the finished folder."""
        self.append(f"../{_NOTES}", data)

    def notes(self) -> bytes:
        """All that was noted before the last checkpoint."""
        path = self._folder / _NOTES
        return path.read_bytes() if path.exists() else b""

    def save(self, state: Mapping[str, Any]) -> None:
        """Make a checkpoint of the files as they are, with `state`, which JSON can hold.

        Raises:
            OutputError: It cannot be written.
        """
        with self._writing():
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            sizes = {name: file.tell() for name, file in sorted(self._files.items())}
            text = json.dumps({"identity": self._identity, "sizes": sizes, "state": dict(state)})
            fresh = self._folder / _FRESH
            with fresh.open("wb") as new:
                new.write(text.encode())
                new.flush()
                os.fsync(new.fileno())
            fresh.replace(self._folder / _CHECKPOINT)

    def finish(self, whole: Mapping[str, str]) -> None:
        """Write the texts of `whole` too, and put the folder where it belongs.

        Raises:
            OutputError: It cannot be written.
        """
        with self._writing():
            for file in self._files.values():
                file.close()
            for name, text in whole.items():
                (self._folder / _FILES / name).write_bytes(text.encode(errors="backslashreplace"))
            (self._folder / _FILES).replace(self._final)
            _remove(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for file in (*self._files.values(), self._lock):
            # What cannot be written now was not in a checkpoint either.
            with suppress(OSError):
                file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._folder}: {error.strerror}; when that is mended, the same command goes on from there"
            ) from error

    def _check_entries(self) -> None:
        """Check that nothing is in the folder but what a draft has."""
        folders = {Path(_FILES), *(parent for name in self._names for parent in (Path(_FILES) / name).parents)}
        files = {Path(name) for name in _OWN} | {Path(_FILES) / name for name in self._names}
        for path in sorted(self._folder.rglob("*")):
            entry = path.relative_to(self._folder)
            known = entry in folders if path.is_dir() else entry in files
            if not known or path.is_symlink():
                raise InputError(f"{path}: is no part of a draft of ours; move it, or give another --out")

    def _restore(self) -> State | None:
        """Cut the files back to the last checkpoint, and return its state."""
        sizes: dict[str, int] = {}
        state: State | None = None
        checkpoint = self._folder / _CHECKPOINT
        if checkpoint.exists():
            saved = _read(checkpoint)
            if saved is None:
                raise InputError(f"{checkpoint}: is damaged; remove {self._folder}, or give another --out")
            if saved["identity"] != self._identity:
                raise InputError(
                    f"{self._folder}: was begun with other options or sources; use the same, remove it, or give "
                    "another --out"
                )
            sizes, state = saved["sizes"], saved["state"]
        paths = {name: self._folder / _FILES / name for name in (f"../{_NOTES}", *sorted(self._names))}
        for name, size in sizes.items():
            if name not in paths or not paths[name].is_file() or paths[name].stat().st_size < size:
                raise InputError(
                    f"{self._folder}: {name} is not as the checkpoint has it; remove the folder, or give another --out"
                )
        for name, path in paths.items():
            if name in sizes:
                os.truncate(path, sizes[name])
                self.append(name, b"")
            else:
                path.unlink(missing_ok=True)
        return state


def discard_draft(final: Path) -> None:
    """Remove what is left beside the finished `final` of its draft, if it is that."""
    folder = _folder(final)
    if os.path.lexists(folder) and _is_draft(folder) and not (folder / _FILES).exists():
        _remove(folder)


def _folder(final: Path) -> Path:
    return final.with_name(final.name + ".partial")


def _make(folder: Path) -> None:
    """Make an empty draft, which has its mark from the beginning."""
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    (fresh / _FILES).mkdir(parents=True)
    (fresh / _LOCK).write_bytes(_MARK)
    fresh.rename(folder)


def _is_draft(folder: Path) -> bool:
    """Whether `folder` is known as ours, by its mark or, where it was begun before there was one, its checkpoint."""
    try:
        if folder.is_symlink():
            return False
        return (folder / _LOCK).read_bytes() == _MARK or _read(folder / _CHECKPOINT) is not None
    except OSError:
        return False


def _read(checkpoint: Path) -> dict[str, Any] | None:
    """What `checkpoint` holds; None if it is something else."""
    try:
        saved = parse(checkpoint.read_bytes())
    except ValueError:
        return None
    kinds = {"identity": str, "sizes": dict, "state": dict}
    return saved if isinstance(saved, dict) and all(isinstance(saved.get(k), kinds[k]) for k in kinds) else None


def _remove(folder: Path) -> None:
    """Remove a draft without its files; whatever else somebody put there stays."""
    for name in _OWN:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
