"""The C++ compiler of this machine."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import KernelBuildError, NoCompilerError

ENVIRONMENT_VARIABLE = "CXX"

_USUAL_NAMES = ("c++", "g++", "clang++")
_SHOWN_LINES = 20
"""Of a compiler's message: its end has the error, its start often only where a header was included."""


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
        """Compile `source` to the shared library `library`; intermediate files go to the folder of `library`.

        Raises:
            KernelBuildError: The compiler refuses; the message has the command and the end of its own message.
        """
        command = [*self.command, *flags, "-fPIC", "-shared", str(source), "-o", str(library)]
        returncode, said = _run(command, library.parent)
        if returncode != 0:
            end = "\n".join(said.splitlines()[-_SHOWN_LINES:])
            what = "refuses the CPU kernels" if returncode > 0 else f"was ended by signal {-returncode}"
            raise KernelBuildError(
                f"the C++ compiler {what}\n{shlex.join(command)}\n{end}\n"
                f"choose another compiler, such as {ENVIRONMENT_VARIABLE}=g++, or run on the slow reference kernels "
                "with MARCOT_KERNELS=reference"
            )

    def accepts(self, flag: str, folder: Path, code: str = "") -> bool:
        """Whether it makes a library of `code` with `flag`, in a folder of its own in `folder`.

        Raises:
            KernelBuildError: It makes none of no code without the flag either.
        """
        with tempfile.TemporaryDirectory(dir=folder) as place:
            source, empty = Path(place, "probe.cpp"), Path(place, "empty.cpp")
            source.write_text(code, encoding="utf-8")
            empty.touch()
            try:
                self.compile(source, source.with_suffix(".so"), (flag,))
            except KernelBuildError:
                self.compile(empty, empty.with_suffix(".so"), ())
                return False
            return True


def find_compiler() -> Compiler:
    """Return the compiler that `CXX` names; without it the first of the usual names that answers.

    Raises:
        NoCompilerError: There is none, or `CXX` names none.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE, "").split()
    for name, *arguments in [chosen] if chosen else [[name] for name in _USUAL_NAMES]:
        program = shutil.which(name)
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
        answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    lines = answer.stdout.splitlines()
    return lines[0] if answer.returncode == 0 and lines else None


def _run(command: list[str], folder: Path) -> tuple[int, str]:
    """Run `command` with its temporary files in `folder`; return its exit code and all that it said.

    It has a process group of its own: a compiler is several processes, and Ctrl-C must not leave one of them behind.
    """
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()  # ends when all of them have let go of the pipe
            raise
    return process.returncode, said
