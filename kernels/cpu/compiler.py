"""Finds and runs the C++ compiler of this machine."""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CompilerMishapError, KernelBuildError, NoCompilerError
from ..programs import environment, find_program, running

ENVIRONMENT_VARIABLE = "CXX"

_USUAL_NAMES = ("c++", "g++", "clang++")
_SHOWN_LINES = 20
"""How many of the last lines of a compiler message to show: the error is at the end."""

_SIGNALS = 128
"""A shell reports a program that was killed by signal n as exit code 128 + n."""

_SHORTAGES = (
    errno.EAGAIN,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EROFS,
)
"""System errors that a compiler, or starting one, may run into for reasons that have nothing to do with the source."""

_SIGNS_OF_MISHAP = re.compile(
    "|".join(
        (
            *(re.escape(os.strerror(code)) for code in _SHORTAGES),
            "memory exhausted|out of memory|bad_alloc",  # as g++, clang and the linker put it
            r"killed|terminated with signal|signal terminated|due to signal|ld returned [^1\W]",
            "failed to map segment|cannot execute|unable to execute|internal compiler error",
        )
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Compiler:
    """A working C++ compiler.

    Attributes:
        command: Its path, then any arguments given in `CXX` after the name.
        version: The first line of its `--version` output.
    """

    command: tuple[str, ...]
    version: str

    def compile(self, source: Path, library: Path, flags: Sequence[str]) -> None:
        """Compile `source` to the shared library `library`.

        The compiler runs in the folder of `library` and puts its intermediate files there. Relative paths in
        environment variables are therefore relative to that folder, not to the current one. The folder is deleted if
        this process ends.

        Raises:
            CompilerMishapError: The compiler ran out of disk space or memory, or was killed by a signal.
            KernelBuildError: The compiler rejected the source. Both errors show the command and the end of its output.
        """
        command = [*self.command, *flags, "-fPIC", "-shared", str(source), "-o", str(library)]
        returncode, said = _run(command, library.parent)
        if returncode == 0:
            return
        mishap = _mishap(returncode, said)
        end = "\n".join(said.splitlines()[-_SHOWN_LINES:])
        raise (CompilerMishapError if mishap else KernelBuildError)(
            f"the C++ compiler {mishap or 'refuses the CPU kernels'}\n{shlex.join(command)}\n{end}\n"
            f"choose another compiler, such as {ENVIRONMENT_VARIABLE}=g++, or run on the slow reference kernels "
            "with MARCOT_KERNELS=reference"
        )

    def accepts(self, flag: str, folder: Path, code: str = "") -> bool:
        """Whether the compiler can build `code` with `flag`; the attempt is made in `folder`.

        The flag counts as rejected only if two attempts fail, each followed by a successful build of an empty file
        without the flag.

        Raises:
            CompilerMishapError: The compiler failed for a reason outside the source.
            KernelBuildError: The compiler cannot even build an empty file without the flag.
        """
        probe, empty = folder / "probe.cpp", folder / "empty.cpp"
        probe.write_text(code, encoding="utf-8")
        empty.touch()
        for _ in range(2):
            try:
                self.compile(probe, probe.with_suffix(".so"), (flag,))
            except CompilerMishapError:
                raise
            except KernelBuildError:
                self.compile(empty, empty.with_suffix(".so"), ())
            else:
                return True
        return False


def find_compiler() -> Compiler:
    """Return the compiler that `CXX` names or, if `CXX` is not set, the first of c++, g++ and clang++ that works.

    Names are looked up on `PATH`, but never in the current folder.

    Raises:
        NoCompilerError: There is no compiler, or `CXX` does not name one.
        CompilerMishapError: There is a compiler, but it cannot be started at the moment.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE, "").split()
    for name, *arguments in [chosen] if chosen else [[name] for name in _USUAL_NAMES]:
        program = find_program(name)
        version = None if program is None else _version([program, *arguments])
        if program is not None and version is not None:
            return Compiler((program, *arguments), version)
    if chosen:
        raise NoCompilerError(
            f"{ENVIRONMENT_VARIABLE}={' '.join(chosen)} does not run; correct it, or unset it to use the first of "
            f"{', '.join(_USUAL_NAMES)}"
        )
    raise NoCompilerError("no C++ compiler found; install g++ (Debian, Ubuntu: apt install g++) or name one in CXX")


def _version(command: list[str]) -> str | None:
    """Return the first line of `--version`; None if the command does not work."""
    try:
        answer = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            check=False,
        )
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise CompilerMishapError(f"{command[0]} cannot be started: {error.strerror}") from error
        return None
    mishap = _mishap(answer.returncode, answer.stderr) if answer.returncode else None
    if mishap is not None:
        raise CompilerMishapError(f"{command[0]} {mishap}")
    lines = answer.stdout.splitlines()
    return lines[0] if answer.returncode == 0 and lines else None


def _run(command: list[str], folder: Path) -> tuple[int, str]:
    """Run `command` in `folder`, also the place for its temporary files; return its exit code and output."""
    variables = _environment() | {"TMPDIR": str(folder)}
    try:
        with running(command, folder, subprocess.PIPE, variables, cwd=folder) as process:
            assert process.stdout is not None
            said = process.stdout.read()
            return process.wait(), said.decode(errors="replace")
    except OSError as error:
        if error.errno in _SHORTAGES:
            raise CompilerMishapError(f"{command[0]} cannot be started: {error.strerror}") from error
        raise


def _environment() -> dict[str, str]:
    """Return the environment for a compiler, with English messages, because `_SIGNS_OF_MISHAP` matches English text."""
    return environment() | {"LC_ALL": "C"}


def _mishap(returncode: int, said: str) -> str | None:
    """Return what stopped a failed program, such as a signal or a full disk; None if it ran and rejected its input."""
    if returncode < 0 or returncode > _SIGNALS:
        return f"was ended by signal {abs(returncode) % _SIGNALS}"
    found = next((line for line in said.splitlines() if _SIGNS_OF_MISHAP.search(line)), None)
    return None if found is None else f"could not do its work: {found.strip()}"
