"""Building the CPU kernels with this machine's compiler, with a library of a few lines."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from marcot.kernels import MarcotError
from marcot.kernels.cpu import build_folder as build_folder_module
from marcot.kernels.cpu.build import built_library
from marcot.kernels.cpu.build_folder import build_folder
from marcot.kernels.cpu.library_cache import make_private
from marcot.kernels.errors import CompilerMishapError, KernelBuildError, KernelsUnavailableError, NoCompilerError
from support.programs import system_tools
from support.programs.interruptible import start
from support.programs.processes import is_running, wait_until

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason=system_tools.why_skipped("g++")
)

SOURCE = """\
#include "parts/number.h"
extern "C" __attribute__((visibility("default"))) int number() { return NUMBER; }
"""
BUILD = (
    "import sys, pathlib; from marcot.kernels.cpu.build import built_library as b; print(b(pathlib.Path(sys.argv[1])))"
)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The folder of a library whose function `number` returns 7."""
    folder = tmp_path / "sources"
    (folder / "parts").mkdir(parents=True)
    (folder / "marcot.cpp").write_text(SOURCE)
    (folder / "parts" / "number.h").write_text("constexpr int NUMBER = 7;\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of built libraries, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "cache" / "marcot" / "kernels"


def number(library: Path) -> int:
    return ctypes.CDLL(str(library)).number()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages to the user since the last call."""
    messages = list(caplog.messages)
    caplog.clear()
    return messages


def lone_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Make `script` the only compiler on PATH; the path of the real one is in `$REAL`."""
    monkeypatch.setenv("REAL", shutil.which("c++") or shutil.which("g++") or shutil.which("clang++") or "")
    folder.mkdir()
    program = folder / "c++"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@needs_compiler
def test_it_is_built_once_and_says_so(sources: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    library = built_library(sources)
    assert number(library) == 7
    assert list(cache.iterdir()) == [library]
    assert told(caplog) == ["building the CPU kernels for this machine (once, about 20 s) ..."]
    written = library.stat().st_mtime_ns
    assert built_library(sources) == library
    assert library.stat().st_mtime_ns == written
    assert not told(caplog)


@needs_compiler
@pytest.mark.parametrize("file", ["parts/number.h", "marcot.cpp"])
def test_a_changed_source_is_another_library(sources: Path, file: str) -> None:
    first = built_library(sources)
    changed = sources / file
    changed.write_text(changed.read_text().replace("7", "8").replace("NUMBER; }", "NUMBER + 1; }"))
    second = built_library(sources)
    assert second != first
    assert (number(first), number(second)) == (7, 8)


@needs_compiler
def test_another_flag_and_another_cpu_are_another_library(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "parts" / "number.h").write_text("#ifndef NUMBER\n#define NUMBER 7\n#endif\n")
    first, second = built_library(sources), built_library(sources, ["-DNUMBER=9"])
    assert (number(first), number(second)) == (7, 9)
    monkeypatch.setattr("marcot.kernels.cpu.build._cpu_features", lambda: "flags: abacus")
    assert built_library(sources) not in (first, second)


@needs_compiler
def test_a_broken_source_shows_the_compilers_words(sources: Path, cache: Path) -> None:
    (sources / "marcot.cpp").write_text("int broken( { return 0; }\n")
    with pytest.raises(KernelBuildError, match=r"(?s)marcot\.cpp.*error:.*MARCOT_KERNELS=reference") as caught:
        built_library(sources)
    assert "-O3" in str(caught.value)
    assert isinstance(caught.value, MarcotError)
    assert list(cache.iterdir()) == []


def test_without_a_compiler_the_message_says_what_to_install(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompilerError, match=r"no C\+\+ compiler found; install g\+\+") as caught:
        built_library(sources)
    assert isinstance(caught.value, KernelsUnavailableError)


@pytest.mark.parametrize("name", ["no-such-compiler", "false", "no-such-compiler -m32"])
def test_a_wrong_cxx_is_named(sources: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("CXX", name)
    with pytest.raises(NoCompilerError, match=f"CXX={name} does not run; correct it"):
        built_library(sources)


@needs_compiler
def test_cxx_may_have_arguments(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "parts" / "number.h").write_text("#ifndef NUMBER\n#define NUMBER 7\n#endif\n")
    monkeypatch.setenv("CXX", "c++ -DNUMBER=11")
    assert number(built_library(sources)) == 11


@needs_compiler
def test_flags_that_the_compiler_refuses_are_left_out_until_it_takes_them(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse = 'case " $* " in *=native*|*-fopenmp*) echo "unknown option" >&2; exit 1;; esac\nexec "$REAL" "$@"\n'
    lone_compiler(tmp_path / "bin", monkeypatch, refuse)
    library = built_library(sources)
    assert number(library) == 7
    said = "\n".join(told(caplog))
    assert f"{tmp_path}/bin/c++ has no OpenMP: the CPU kernels will run on one thread" in said
    assert built_library(sources) == library
    assert not told(caplog)
    (tmp_path / "bin" / "c++").write_text('#!/bin/sh\nexec "$REAL" "$@"\n')
    whole = built_library(sources)
    assert whole != library
    assert "no OpenMP" not in "\n".join(told(caplog))


@needs_compiler
def test_two_processes_build_at_once(sources: Path, cache: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(sources)]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [builder.communicate(timeout=120) for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0, 0], ended
    (library,) = {Path(out.strip()) for out, _ in ended}
    assert list(cache.iterdir()) == [library]
    assert number(library) == 7


@needs_compiler
def test_a_cache_that_cannot_be_written_is_no_hindrance(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    code = BUILD + "; assert b(pathlib.Path(sys.argv[1])).exists()"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(sources)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert f"{in_the_way}/marcot/kernels cannot be used" in ended.stderr
    assert ended.stderr.count("building the CPU kernels") == 1, "once per process"
    assert not Path(ended.stdout.strip()).parent.exists(), "it goes with the process"


@needs_compiler
def test_what_was_built_before_the_cache_became_read_only_is_used(
    sources: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = built_library(sources)
    monkeypatch.setattr("os.mkdir", None)
    assert built_library(sources) == library


@needs_compiler
@pytest.mark.parametrize("size", [0, 6000])
def test_a_library_that_was_cut_short_is_built_anew(
    sources: Path, cache: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Loading the rest of the file would kill the process."""
    library = built_library(sources)
    library.write_bytes(library.read_bytes()[:size])
    caplog.clear()
    assert number(built_library(sources)) == 7
    assert "\n".join(told(caplog)).count("building the CPU kernels") == 1
    assert number(built_library(sources)) == 7
    assert not told(caplog)
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_a_folder_in_the_librarys_place_is_left_alone(sources: Path, caplog: pytest.LogCaptureFixture) -> None:
    library = built_library(sources)
    library.unlink()
    (library / "somebody's").mkdir(parents=True)
    assert number(built_library(sources)) == 7
    assert "so the built library will be deleted at the end" in "\n".join(told(caplog))
    assert (library / "somebody's").is_dir()


@needs_compiler
@pytest.mark.parametrize(
    ("end", "message"),
    [("kill -9 $$", r"the C\+\+ compiler was ended by signal 9"), ("exit 0", "what was built there cannot be loaded")],
    ids=["killed", "done-too-early"],
)
def test_a_compiler_that_stops_in_the_middle_leaves_nothing(
    sources: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, message: str
) -> None:
    script = f"""\
case " $* " in *marcot.cpp*) ;; *) exec "$REAL" "$@";; esac
"$REAL" "$@"
for last; do :; done
head -c 6000 "$last" > "$last.half"
mv "$last.half" "$last"
{end}
"""
    lone_compiler(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(KernelBuildError, match=message):
        built_library(sources)
    assert list(cache.iterdir()) == []


@needs_compiler
def test_a_mishap_while_trying_flags_costs_no_flag(
    sources: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, a compiler that is out of memory for a moment would leave a slow library for ever."""
    calls = tmp_path / "call"
    script = f"""\
case "$1" in --version) exec "$REAL" "$@";; esac
mkdir {calls}-1 || mkdir {calls}-2 || exec "$REAL" "$@"
exit 1
"""
    lone_compiler(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(KernelBuildError, match="refuses"):
        built_library(sources)
    assert list(cache.iterdir()) == []
    assert number(built_library(sources)) == 7


@needs_compiler
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("echo '/tmp/cc1.s: No space left on device'; exit 1", "No space left on device"),
        ("echo 'cc1plus: out of memory allocating 65536 bytes'; exit 1", "out of memory"),
        ("echo 'virtual memory exhausted: Cannot allocate memory'; exit 1", "memory exhausted"),
        ("echo 'c++: fatal error: Killed signal terminated program cc1plus'; exit 1", "Killed signal"),
        ("echo 'collect2: fatal error: ld terminated with signal 9 [Killed]'; exit 1", "ld terminated with signal 9"),
        ("echo 'clang++: error: unable to execute command: Killed'; exit 254", "signal 126"),
        ("echo 'c++: fatal error: cannot execute cc1plus'; exit 1", "cannot execute cc1plus"),
        ("kill -9 $$", "ended by signal 9"),
        ("exit 137", "ended by signal 9"),
    ],
    ids=["space", "clang-memory", "memory", "killed", "linker", "clang-killed", "no-cc1plus", "signal", "shell"],
)
def test_a_compiler_that_cannot_work_does_not_refuse_a_flag(
    sources: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, reason: str
) -> None:
    """Even if it fails like this for this flag only."""
    lone_compiler(tmp_path / "bin", monkeypatch, f'case "$*" in *-fopenmp*) {end};; esac\nexec "$REAL" "$@"\n')
    with pytest.raises(CompilerMishapError, match=reason):
        built_library(sources)
    assert list(cache.iterdir()) == []


@needs_compiler
def test_what_fails_once_is_no_refusal(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = f'case "$*" in *-fopenmp*) mkdir {tmp_path}/once && exit 1;; esac\nexec "$REAL" "$@"\n'
    lone_compiler(tmp_path / "bin", monkeypatch, script)
    assert number(built_library(sources)) == 7
    assert "no OpenMP" not in "\n".join(told(caplog))


@needs_compiler
def test_a_process_that_cannot_start_another_says_so(sources: Path, cache: Path) -> None:
    script = """\
import pathlib, resource, sys
from marcot import MarcotError
from marcot.kernels.cpu.build import built_library
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    built_library(pathlib.Path(sys.argv[1]))
except MarcotError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(sources)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Too many open files" in ended.stdout, ended.stderr
    assert not cache.exists() or list(cache.iterdir()) == []


@needs_compiler
def test_a_full_disk_leaves_nothing_and_says_so(sources: Path, cache: Path) -> None:
    """No file may grow beyond a few bytes, in the cache or elsewhere."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)); "
    ended = subprocess.run(
        [sys.executable, "-c", code + BUILD, str(sources)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 1
    assert f"the CPU kernels cannot be built: {cache} cannot be used: File too large; and elsewhere" in ended.stderr
    assert list(cache.iterdir()) == []


HALF_DONE = """\
case " $* " in *marcot.cpp*) ;; *) exec "$REAL" "$@";; esac
for last; do :; done
echo half > "$last"
sleep 1000 &
echo $! > "$PID_FILE"
wait
"""
"""A compiler that stops with half of the library written and a child of its own running."""


@pytest.fixture
def pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which this half-done compiler writes the id of its child."""
    lone_compiler(tmp_path / "bin", monkeypatch, HALF_DONE)
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "pid"


@needs_compiler
def test_ctrl_c_leaves_nothing_behind(sources: Path, cache: Path, tmp_path: Path, pid_file: Path) -> None:
    builder = start([sys.executable, "-c", BUILD, str(sources)])
    wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    assert len(list(cache.glob("building-*/marcot.so"))) == 1, "half a library is there"
    builder.send_signal(signal.SIGINT)
    _, said = builder.communicate(timeout=60)
    assert builder.returncode != 0
    assert "KeyboardInterrupt" in said
    assert list(cache.iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not is_running(int(pid_file.read_text()))


@needs_compiler
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_killed_builder_takes_the_compiler_with_it(
    sources: Path, cache: Path, tmp_path: Path, pid_file: Path, number: signal.Signals
) -> None:
    builder = start([sys.executable, "-c", BUILD, str(sources)])
    wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    builder.send_signal(number)
    builder.communicate(timeout=60)
    wait_until(lambda: not is_running(int(pid_file.read_text())))
    wait_until(lambda: not list(cache.iterdir()))
    assert list((tmp_path / "temporary").iterdir()) == []


@needs_compiler
def test_what_killed_builders_left_goes_with_the_next_build(sources: Path, cache: Path) -> None:
    make_private(cache)
    (cache / "building-x" / "half").mkdir(parents=True)
    with build_folder(cache) as mine:
        assert not (cache / "building-x").exists()
        (mine / "file").touch()
        library = built_library(sources)
        assert {*cache.iterdir()} == {mine, library}, "somebody is at work in there"
        assert (mine / "file").exists()
    assert list(cache.iterdir()) == [library]


def test_a_spare_folder_lasts_as_long_as_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process left is removed when the next one makes a folder; other people's folders and links stay."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['temporary_folder'](), flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, build_folder_module.__file__]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "marcot-kernels-link").symlink_to(tmp_path / "elsewhere")
    first, second = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    folders = [Path(process.stdout.readline().strip()) for process in (first, second) if process.stdout is not None]
    assert all(folder.parent == tmp_path and folder.is_dir() for folder in folders), "neither takes the other's"
    first.kill()
    first.communicate()
    assert folders[0].is_dir()
    third = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    assert [folder.exists() for folder in (*folders, Path(third.stdout.strip()))] == [False, True, False]
    second.communicate("")
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "marcot-kernels-link"}


@needs_compiler
@pytest.mark.parametrize("variable", ["PATH", "CPATH", "LIBRARY_PATH", "COMPILER_PATH", "DEPENDENCIES_OUTPUT"])
def test_nothing_in_the_current_folder_is_run_or_read(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("c++", "g++", "clang++", "as", "ld", "cc1plus", "collect2", "ld.bfd", "sysctl"):
        (hostile / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        (hostile / name).chmod(0o755)
    for name in ("omp.h", "cstdint", "libstdc++.so", "libc.so", "crti.o"):
        (hostile / name).write_text("#error hostile\n")
    monkeypatch.chdir(hostile)
    before = {*hostile.iterdir()}
    if variable == "PATH":
        monkeypatch.setenv("PATH", f":.:../hostile:{os.environ['PATH']}::")
    else:
        monkeypatch.setenv(variable, "dependencies" if variable == "DEPENDENCIES_OUTPUT" else ":.:")
    assert number(built_library(sources)) == 7
    assert not (tmp_path / "ran").exists()
    assert {*hostile.iterdir()} == before
