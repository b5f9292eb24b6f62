"""The library of the CPU kernels, built once on each machine."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import KernelBuildError
from .compiler import Compiler, find_compiler
from .library_cache import cache_folder, find, keep, make_own

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
_ROOM = 32 << 20
"""Bytes: several times what the compiler's files take at most."""
_OPENMP_PROBE = "#include <omp.h>\nint threads() { return omp_get_max_threads(); }\n"


def built_library(
    sources: Path = SOURCES,
    extra_flags: Sequence[str] = (),
    what: str = "the CPU kernels",
    seconds: int = 20,
    parallel: bool = True,
) -> Path:
    """Return the shared library of `sources`, building it if this machine has not done so yet.

    It is kept in the user's cache directory under a name that changes with the sources, the compiler, the flags and the
    CPU, and is built anew where that file is damaged or somebody else's. Any number of processes may build at once:
    each has a folder of its own and moves the finished file in place.

    Args:
        sources: A folder of headers and one translation unit, `marcot.cpp`.
        extra_flags: Further flags for the compiler, after the usual ones.
        what: What they are, to tell whoever waits.
        seconds: About how long it takes.
        parallel: Whether they run on several threads, and a user should hear of a compiler that has none.

    Raises:
        NoCompilerError: There is no C++ compiler.
        KernelBuildError: It refuses the sources, or no disk has room for the library.
    """
    compiler = find_compiler()
    name = f"marcot-{_digest(sources, compiler, extra_flags)}"
    folder = cache_folder()

    def build(folder: Path) -> Path:
        _say(f"building {what} for this machine (once, about {seconds} s) ...")
        library, flags = _build(compiler, sources, extra_flags, folder, name)
        if _OPENMP not in flags and parallel:
            _say(
                f"{compiler.command[0]} has no OpenMP: the CPU kernels will run on one thread; to change that, install "
                f"libomp (or g++) and remove {library}"
            )
        return library

    known = find(folder, name)
    if known is not None:
        return known
    try:
        make_own(folder)
        return find(folder, name) or build(folder)
    except OSError as error:
        reason = f"{folder} cannot be used: {error.strerror or error}"
    try:
        spare = _temporary_folder(reason)
        return find(spare, name) or build(spare)
    except OSError as error:
        raise KernelBuildError(f"{what} cannot be built: {reason}; and elsewhere: {error.strerror or error}") from error


def _build(
    compiler: Compiler, sources: Path, extra_flags: Sequence[str], folder: Path, name: str
) -> tuple[Path, list[str]]:
    """Build the library `name` in `folder`; return its path, and the usual flags that the compiler knows.

    Raises:
        KernelBuildError: The compiler refuses the sources.
        OSError: The folder is to blame, not the compiler.
    """
    with tempfile.TemporaryDirectory(prefix="building-", dir=folder) as workshop:
        fresh = Path(workshop, "marcot.so")
        try:
            flags = _accepted_flags(compiler, fresh.parent)
            compiler.compile(sources / _TRANSLATION_UNIT, fresh, [*flags, *extra_flags])
        except KernelBuildError:
            _check_room(fresh.parent)
            raise
        _check_loads(fresh)
        return keep(fresh, folder, name), flags


def _accepted_flags(compiler: Compiler, folder: Path) -> list[str]:
    """The usual flags, less what this compiler refuses."""
    optional = {_NATIVE: "", _OPENMP: _OPENMP_PROBE}
    return [*_FLAGS, *(flag for flag, probe in optional.items() if compiler.accepts(flag, folder, probe))]


def _check_room(folder: Path) -> None:
    """Raise OSError if `folder` has no room for what a compiler writes."""
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_ROOM >> 20):
            file.write(bytes(1 << 20))
        os.fsync(file.fileno())


def _check_loads(library: Path) -> None:
    """Raise OSError if `library` cannot be loaded, by a process of its own: half a library may end it by a signal."""
    command = [sys.executable, "-I", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        *_, last = done.stderr.splitlines() or [f"it ended with {done.returncode}"]
        raise OSError(f"what was built there cannot be loaded: {last}")


def _digest(sources: Path, compiler: Compiler, extra_flags: Sequence[str]) -> str:
    """A name for all that a library depends on."""
    digest = hashlib.sha256()
    for file in sorted(sources.iterdir()):
        if file.suffix in (".h", ".cpp"):
            digest.update(f"{file.name} {file.stat().st_size}\n".encode() + file.read_bytes())
    about = (*compiler.command, compiler.version, *_FLAGS, _NATIVE, _OPENMP, *extra_flags, _cpu_features())
    digest.update("\0".join(about).encode())
    return digest.hexdigest()[:20]


def _cpu_features() -> str:
    """What a compiler sees in the CPU: a home directory may be shared by machines that differ in it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        brand = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(brand, capture_output=True, text=True, check=False).stdout


@functools.cache
def _temporary_folder(reason: str) -> Path:
    """A folder that goes when the process ends."""
    _say(f"{reason}; so what is built is lost at the end; set XDG_CACHE_HOME to a folder of yours that keeps it")
    folder = Path(tempfile.mkdtemp(prefix="marcot-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
