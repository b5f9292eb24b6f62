"""The library of the CPU kernels, built once on each machine."""

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
"""Flags that a compiler may refuse, and a source that needs each."""

_ROOM = 32 << 20
"""Bytes: several times what the compiler's files take at most."""


def built_library(sources: Path = SOURCES, extra_flags: Sequence[str] = ()) -> Path:
    """Return the shared library of `sources`, building it if this machine has not done so yet.

    It is kept in the user's cache directory under a name that changes with the sources, the compiler, the flags that it
    takes and the CPU, and is built anew where that file is damaged or somebody else's. Any number of processes may
    build at once: each has a folder of its own and moves the finished file in place.

    Args:
        sources: A folder of headers, which may be in folders of their own, and one translation unit, `marcot.cpp`.
        extra_flags: Further flags for the compiler, after the usual ones.

    Raises:
        NoCompilerError: There is no C++ compiler.
        CompilerMishapError: It cannot do its work for now; nothing is kept.
        KernelBuildError: It refuses the sources, or no disk has room for the library.
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
    """How a library is made, see `built_library`."""

    compiler: Compiler
    sources: Path
    extra_flags: tuple[str, ...]

    def name(self, optional: Sequence[str]) -> str:
        """A name for all that the library depends on if the compiler takes the flags `optional`."""
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
        """Return the library with the flags that the compiler takes, from one of `folders`, or built in `folder`.

        Raises:
            CompilerMishapError: The compiler cannot do its work for now, and `folder` is not to blame.
            KernelBuildError: The compiler refuses the sources.
            OSError: The folder is to blame, not the compiler.
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
    """Raise OSError if `folder` has no room for what a compiler writes."""
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_ROOM >> 20):
            file.write(bytes(1 << 20))
        os.fsync(file.fileno())


def _check_loads(library: Path) -> None:
    """Raise OSError if `library` cannot be loaded, by a process of its own: half a library may end it by a signal."""
    command = [sys.executable, "-I", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(library)]
    with running(command, library.parent, subprocess.PIPE) as process:
        assert process.stdout is not None
        said, code = process.stdout.read().decode(errors="replace"), process.wait()
    if code != 0:
        *_, last = said.splitlines() or [f"it ended with {code}"]
        raise OSError(f"what was built there cannot be loaded: {last}")


def _cpu_features() -> str:
    """What a compiler sees in the CPU: a home directory may be shared by machines that differ in it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        brand = [find_program("sysctl") or "/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(brand, capture_output=True, text=True, check=False).stdout


@functools.cache
def _temporary_folder(reason: str) -> Path:
    """A folder that goes when the process ends; the user hears of it once."""
    _LOGGER.warning(
        "%s; so what is built is lost at the end; set XDG_CACHE_HOME to a folder of yours that keeps it", reason
    )
    return temporary_folder()
