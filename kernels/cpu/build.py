"""Builds the library of the CPU kernels, once per machine."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import KernelBuildError
from ..programs import find_program, running
from .build_folder import build_folder, temporary_folder
from .compiler import Compiler, find_compiler
from .library_cache import cache_folder, find, keep, make_private

_LOGGER = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "src"
"""The folder of the C++ sources."""

_TRANSLATION_UNIT = "marcot.cpp"
_FLAGS = (
    "-std=c++20",
    "-O3",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
)
_NATIVE = "-march=native" if platform.machine().lower() in ("x86_64", "amd64") else "-mcpu=native"
_OPENMP = "-fopenmp"
_OPENMP_PROBE = "#include <omp.h>\nint threads() { return omp_get_max_threads(); }\n"
_OPTIONAL = {_NATIVE: "", _OPENMP: _OPENMP_PROBE}
"""Flags that some compilers reject, each with a source file that tests whether the flag works."""

_ROOM = 32 << 20
"""Free disk space that a build needs, in bytes: several times the size of the files that the compiler writes."""


def built_library(sources: Path = SOURCES, extra_flags: Sequence[str] = ()) -> Path:
    """Return the path of the shared library of `sources`, building it if it is not in the cache yet.

    The library is kept in the user's cache directory. Its name contains a hash of the sources, the compiler, the flags
    that the compiler accepts, and the CPU. If the file is damaged or belongs to another user, it is built again. Any
    number of processes may build at once: each builds in a separate folder and moves the finished file into place.

    Args:
        sources: A folder with one translation unit, `marcot.cpp`, and headers, which may be in subfolders.
        extra_flags: More compiler flags, added after the default ones.

    Raises:
        NoCompilerError: There is no C++ compiler.
        CompilerMishapError: The compiler failed for a reason outside the sources, such as a full disk; nothing is kept.
        KernelBuildError: The compiler rejected the sources, or no disk has room for the library.
    """
    build = _Build(find_compiler(), sources.resolve(), tuple(extra_flags))
    try:
        folder = cache_folder()
    except OSError as error:
        raise KernelBuildError(
            f"the CPU kernels cannot be built: there is no folder for them: {error.strerror}"
        ) from error
    known = find(folder, build.name(list(_OPTIONAL)))
    if known is not None:
        return known
    try:
        make_private(folder)
        return build.find_or_build(folder, [folder])
    except OSError as error:
        reason = f"{folder} cannot be used: {error.strerror or error}"
    try:
        spare = _temporary_folder(reason)
        return build.find_or_build(spare, [folder, spare])
    except OSError as error:
        raise KernelBuildError(
            f"the CPU kernels cannot be built: {reason}; and elsewhere: {error.strerror or error}"
        ) from error


@dataclass(frozen=True, slots=True)
class _Build:
    """The inputs of one build; see `built_library`."""

    compiler: Compiler
    sources: Path
    extra_flags: tuple[str, ...]

    def name(self, optional: Sequence[str]) -> str:
        """Return a name with a hash of everything that the library depends on, when built with the flags `optional`."""
        digest = hashlib.sha256()
        for file in sorted(self.sources.rglob("*")):
            if file.suffix in (".h", ".cpp"):
                name = file.relative_to(self.sources).as_posix()
                digest.update(f"{name} {file.stat().st_size}\n".encode() + file.read_bytes())
        flags = (*_FLAGS, *optional, *self.extra_flags)
        about = (*self.compiler.command, self.compiler.version, *flags, _cpu_features())
        digest.update("\0".join(about).encode())
        return f"marcot-{digest.hexdigest()[:20]}"

    def find_or_build(self, folder: Path, folders: Sequence[Path]) -> Path:
        """Test which optional flags the compiler accepts; return that library from `folders`, or build it in `folder`.

        Raises:
            CompilerMishapError: The compiler failed for a reason outside the sources, but not because of `folder`.
            KernelBuildError: The compiler rejected the sources.
            OSError: `folder` cannot be used, for example because its disk is full.
        """
        with build_folder(folder) as place:
            try:
                optional = [flag for flag, probe in _OPTIONAL.items() if self.compiler.accepts(flag, place, probe)]
                name = self.name(optional)
                known = next(filter(None, (find(each, name) for each in folders)), None)
                if known is not None:
                    return known
                _LOGGER.warning("building the CPU kernels for this machine (once, about 20 s) ...")
                fresh = place / "marcot.so"
                self.compiler.compile(self.sources / _TRANSLATION_UNIT, fresh, [*_FLAGS, *optional, *self.extra_flags])
            except KernelBuildError:
                _check_room(place)
                raise
            _check_loads(fresh)
            if _OPENMP not in optional:
                _LOGGER.warning(
                    "%s has no OpenMP: the CPU kernels will run on one thread; to change that, install libomp (or g++)",
                    self.compiler.command[0],
                )
            return keep(fresh, folder, name)


def _check_room(folder: Path) -> None:
    """Raise OSError if the disk of `folder` has less than `_ROOM` bytes free."""
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_ROOM >> 20):
            file.write(bytes(1 << 20))
        os.fsync(file.fileno())


def _check_loads(library: Path) -> None:
    """Raise OSError if `library` cannot be loaded. A child process tries it, as a truncated library can crash it."""
    command = [sys.executable, "-I", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(library)]
    with running(command, library.parent, subprocess.PIPE) as process:
        assert process.stdout is not None
        said, code = process.stdout.read().decode(errors="replace"), process.wait()
    if code != 0:
        *_, last = said.splitlines() or [f"it ended with {code}"]
        raise OSError(f"what was built there cannot be loaded: {last}")


def _cpu_features() -> str:
    """Return the features of this CPU as text: machines with different CPUs may share one home directory."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        brand = [find_program("sysctl") or "/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(brand, capture_output=True, text=True, check=False).stdout


@functools.cache
def _temporary_folder(reason: str) -> Path:
    """Return a folder that is deleted when the process ends, and warn the user once."""
    _LOGGER.warning(
        "%s; so the built library will be deleted at the end; set XDG_CACHE_HOME to a folder that keeps it", reason
    )
    return temporary_folder()
