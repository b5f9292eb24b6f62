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

from .compiler import Compiler, find_compiler

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


def built_library(
    sources: Path = SOURCES,
    extra_flags: Sequence[str] = (),
    what: str = "the CPU kernels",
    seconds: int = 20,
    parallel: bool = True,
) -> Path:
    """Return the shared library of `sources`, building it if this machine has not done so yet.

    It is kept in the user's cache directory under a name that changes with the sources, the compiler, the flags and the
    CPU. Any number of processes may build at once: each has a folder of its own and moves the finished file in place.

    Args:
        sources: A folder of headers and one translation unit, `marcot.cpp`.
        extra_flags: Further flags for the compiler, after the usual ones.
        what: What they are, to tell whoever waits.
        seconds: About how long it takes.
        parallel: Whether they run on several threads, and a user should hear of a compiler that has none.

    Raises:
        NoCompilerError: There is no C++ compiler.
        KernelBuildError: It refuses the sources.
    """
    compiler = find_compiler()
    kept = _cache_folder() / f"marcot-{_digest(sources, compiler, extra_flags)}.so"
    if os.path.isfile(kept):
        return kept
    library = _writable(kept.parent) / kept.name
    if not library.exists():
        _say(f"building {what} for this machine (once, about {seconds} s) ...")
        with tempfile.TemporaryDirectory(prefix="building-", dir=library.parent) as workshop:
            fresh = Path(workshop, library.name)
            flags = _accepted_flags(compiler)
            compiler.compile(sources / _TRANSLATION_UNIT, fresh, [*flags, *extra_flags])
            fresh.replace(library)
        if _OPENMP not in flags and parallel:
            _say(
                f"{compiler.command[0]} has no OpenMP: the CPU kernels will run on one thread; to change that, install "
                f"libomp (or g++) and remove {kept}"
            )
    return library


def _accepted_flags(compiler: Compiler) -> list[str]:
    """The usual flags, less what this compiler refuses."""
    optional = {_NATIVE: "", _OPENMP: _OPENMP_PROBE}
    return [*_FLAGS, *(flag for flag, probe in optional.items() if compiler.accepts(flag, probe))]


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


def _cache_folder() -> Path:
    """Return `marcot/kernels` in the user's cache directory; it need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "marcot" / "kernels"


def _writable(folder: Path) -> Path:
    """Return `folder`, made if it was missing; if nothing can be written there, one that goes with this process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    return _temporary_folder(folder)


@functools.cache
def _temporary_folder(instead_of: Path) -> Path:
    """A folder that goes when the process ends."""
    _say(
        f"{instead_of} cannot be written, so what is built is lost at the end; set XDG_CACHE_HOME to a folder that "
        "keeps it"
    )
    folder = Path(tempfile.mkdtemp(prefix="marcot-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
