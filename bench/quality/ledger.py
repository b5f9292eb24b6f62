"""Keeps finished work on disk, so that an interrupted benchmark can continue where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from .. import ROOT

_FOLDER = ROOT / ".benchmarks" / "quality"
_MEASURES = ("decoded.py", "divergence.py", "mgsm.py", "rater.py")
_KINDS = {".py", ".h", ".cpp"}


class Ledger:
    """A file with a JSON line, key and value, per finished piece of work. An incomplete last line is discarded."""

    def __init__(self, name: str, made_by: str) -> None:
        """Open the ledger `name`, creating it if necessary.

        Args:
            name: First part of the file name.
            made_by: Fingerprint of everything that entries depend on; a different one means a different file.
        """
        _FOLDER.mkdir(parents=True, exist_ok=True)
        path = _FOLDER / f"{name}-{made_by}.jsonl"
        self._entries: dict[str, Any] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(self._file.tell() - len(line))
                break
            entry = json.loads(line)
            self._entries[entry["key"]] = entry["value"]

    def get(self, key: str) -> Any:  # noqa: ANN401  (any JSON value)
        """Return the value of `key`, or None."""
        return self._entries.get(key)

    def add(self, key: str, value: object) -> None:
        """Add `value`, which must be a JSON value, under `key`."""
        self._entries[key] = value
        self._file.write(json.dumps({"key": key, "value": value}).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def fingerprint(facts: Iterable[object]) -> str:
    """Return a short hash of `facts`, of marcot's sources, and of the sources of the measurements."""
    files = [file for folder in ("engine", "kernels", "model") for file in (ROOT / folder).rglob("*")]
    sources = sorted(file for file in files if file.suffix in _KINDS)
    digest = hashlib.sha256()
    for file in (*sources, *(ROOT / "bench" / "quality" / name for name in _MEASURES)):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(repr(list(facts)).encode())
    return digest.hexdigest()[:12]
