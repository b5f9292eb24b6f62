"""Finds programs of this machine, never in the current folder, and runs them so that they end when marcot does."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


def find_program(name: str) -> str | None:
    """Return the absolute path of the program `name`, a name on the `search_path` or a path; None if there is none."""
    found = shutil.which(name, path=search_path())
    return None if found is None else os.path.abspath(found)


def search_path() -> str:
    """`PATH` without untrusted folders: the current folder, other relative ones, and those that everybody can write."""
    return os.pathsep.join(filter(_is_trusted, os.environ.get("PATH", os.defpath).split(os.pathsep)))


def environment() -> dict[str, str]:
    """Environment variables for a child process, which will not search the current folder for programs or modules."""
    variables = os.environ | {"PATH": search_path() or os.defpath}  # an empty PATH would mean the current folder
    if "PYTHONPATH" in variables:
        modules = variables["PYTHONPATH"].split(os.pathsep)
        variables["PYTHONPATH"] = os.pathsep.join(filter(os.path.isabs, modules))
    return variables


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    output: int | IO[bytes],
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` during a `with` block; if it is still running at the end, it is killed with all that it started.

    The same happens if this process is killed. Ctrl-C on a terminal does not reach the command.

    Args:
        command: The program's path, and its arguments.
        folder: The command's working files, which are removed if it does not finish.
        output: Where stdout and stderr go, as in `subprocess.Popen`.
        variables: Environment variables, instead of `environment()`.
        cwd: The folder to run in, instead of the current one.

    Yields:
        A process that ends when the command does. Its exit code is that of the command, or 128 plus the number of the
        signal that ended it.

    Raises:
        OSError: No process can be started.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), str(folder), *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment() if variables is None else variables,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _is_trusted(folder: str) -> bool:
    """Whether `folder` is an absolute path, and not everybody may put programs there."""
    try:
        return os.path.isabs(folder) and not os.stat(folder).st_mode & stat.S_IWOTH
    except OSError:
        return False
