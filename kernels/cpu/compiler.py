"""The C++ compiler of this machine."""

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
"""Of a compiler's message: its end has the error, its start often only where a header was included."""

_SIGNALS = 128
"""Exit codes above this say which signal has ended a program."""

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
"""What the system may tell a compiler, or whoever starts one, that says nothing about the code."""

_SIGNS_OF_MISHAP = re.compile(
    "|".join(
        (
            *(re.escape(os.strerror(code)) for code in _SHORTAGES),
            "memory exhausted|out of memory|bad_alloc",  # g++'s, clang's and the linker's own words for it
            r"killed|terminated with signal|signal terminated|due to signal|ld returned [^1\W]",
            "failed to map segment|cannot execute|unable to execute|internal compiler error",
        )
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler that answers.

    Attributes:
        command: Its path, then the arguments that `CXX` has after the name.
        version: The first line of what it says about itself.
    """

    command: tuple[str, ...]
    version: str

    def compile(self, source: Path, library: Path, flags: Sequence[str]) -> None:
        """Compile `source` to the shared library `library`.

        It runs in the folder of `library`, which is where its intermediate files go too, and what it would find in the
        current folder by a relative path in a variable of the environment. If this process ends, that folder goes.

        Raises:
            CompilerMishapError: It could not do its work: no room, no memory, a signal.
            KernelBuildError: It refuses. The message of either has the command and the end of its own message.
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
        """Whether it makes a library of `code` with `flag`, which it tries in `folder`.

        It is believed to refuse only if it does so twice, and makes a library without the flag in between.

        Raises:
            CompilerMishapError: It could not do its work.
            KernelBuildError: It makes none of no code without the flag either.
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
    """Return the compiler that `CXX` names; without it the first of the usual names that answers.

    A name is looked for on `PATH`, but not in the current folder.

    Raises:
        NoCompilerError: There is none, or `CXX` names none.
        CompilerMishapError: There is one, which cannot be started for now.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE, "").split()
    for name, *arguments in [chosen] if chosen else [[name] for name in _USUAL_NAMES]:
        program = find_program(name)
        version = None if program is None else _version([program, *arguments])
        if program is not None and version is not None:
            return Compiler((program, *arguments), version)
    if chosen:
        raise NoCompilerError(
            f"{ENVIRONMENT_VARIABLE}={' '.join(chosen)} is no compiler that answers; correct it, or unset it for the "
            f"first of {', '.join(_USUAL_NAMES)}"
        )
    raise NoCompilerError("no C++ compiler found; install g++ (Debian, Ubuntu: apt install g++) or name one in CXX")


def _version(command: list[str]) -> str | None:
    """The first line of `--version`; None where nothing like a compiler answers."""
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
    """Run `command` in `folder`, where its temporary files go too; return its exit code and all that it said."""
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
    """The variables for a compiler, which is to speak English: `_SIGNS_OF_MISHAP` are."""
    return environment() | {"LC_ALL": "C"}


def _mishap(returncode: int, said: str) -> str | None:
    """What kept a program from its work; None if it did it and refuses."""
    if returncode < 0 or returncode > _SIGNALS:
        return f"was ended by signal {abs(returncode) % _SIGNALS}"
    found = next((line for line in said.splitlines() if _SIGNS_OF_MISHAP.search(line)), None)
    return None if found is None else f"could not do its work: {found.strip()}"
