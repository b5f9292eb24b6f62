"""A folder of files that are written over several runs, and appear at once when they are finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from ..errors import InputError
from ..file_lock import lock

State = dict[str, Any]

_CHECKPOINT = "checkpoint.json"


class DraftFolder:
    """Files that only grow, beside their final place in `NAME.partial`.

    A checkpoint says how long each file was at one moment, and what the writer has to know to go on from there. Opening
    the folder again cuts every file back to it: what a killed run wrote later is written anew.

    Attributes:
        state: What the last checkpoint said; None if there is none yet.
    """

    def __init__(self, final: Path, identity: str) -> None:
        """Open the draft of `final`, or make it.

        Args:
            final: Where the files go in the end.
            identity: Equal for runs that write the same bytes.

        Raises:
            InputError: It cannot be written, another run writes to it, or its bytes are others.
        """
        self._final = final
        self._folder = final.with_name(final.name + ".partial")
        self._identity = identity
        self._files: dict[str, BinaryIO] = {}
        try:
            (self._folder / "files").mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("wb")
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be written: {error.strerror}") from error
        lock(self._lock, f"{self._folder}: another run is writing there; wait for it, or give another --out")
        try:
            self.state = self._restore()
        except BaseException:
            self._lock.close()
            raise

    def append(self, name: str, data: bytes) -> None:
        """Add `data` to the file `name`, a relative path."""
        if name not in self._files:
            path = self._folder / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[name] = path.open("ab")
        self._files[name].write(data)

    def note(self, data: bytes) -> None:
        """Add `data` to what is kept between runs, and is no part of the finished folder."""
        self.append("../notes", data)

    def notes(self) -> bytes:
        """All that was noted before the last checkpoint."""
        path = self._folder / "notes"
        return path.read_bytes() if path.exists() else b""

    def save(self, state: Mapping[str, Any]) -> None:
        """Make a checkpoint of the files as they are, with `state`, which JSON can hold."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        sizes = {name: file.tell() for name, file in sorted(self._files.items())}
        checkpoint = self._folder / _CHECKPOINT
        fresh = checkpoint.with_suffix(".new")
        text = json.dumps({"identity": self._identity, "sizes": sizes, "state": dict(state)})
        with fresh.open("wb") as new:
            new.write(text.encode())
            new.flush()
            os.fsync(new.fileno())
        fresh.replace(checkpoint)

    def finish(self, whole: Mapping[str, str]) -> None:
        """Write the texts of `whole` too, and put the folder where it belongs."""
        for file in self._files.values():
            file.close()
        for name, text in whole.items():
            (self._folder / "files" / name).write_bytes(text.encode(errors="backslashreplace"))
        (self._folder / "files").replace(self._final)
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        self._lock.close()

    def _restore(self) -> State | None:
        """Cut the files back to the last checkpoint, and return its state."""
        sizes: dict[str, int] = {}
        state: State | None = None
        checkpoint = self._folder / _CHECKPOINT
        if checkpoint.exists():
            saved = json.loads(checkpoint.read_text(encoding="utf-8"))
            if saved["identity"] != self._identity:
                raise InputError(
                    f"{self._folder}: was begun with other options or sources; use the same, remove it, or give "
                    "another --out"
                )
            sizes, state = saved["sizes"], saved["state"]
        known = {(self._folder / "files" / name).resolve(): name for name in sizes}
        for path in sorted([self._folder / "notes", *(self._folder / "files").rglob("*")]):
            if not path.is_file():
                continue
            name = known.get(path.resolve())
            if name is None:
                path.unlink()
            else:
                with path.open("r+b") as file:
                    file.truncate(sizes[name])
        for name in sizes:
            self.append(name, b"")
        return state
