"""The program `supervisor.py FOLDER COMMAND...`: runs a command, and kills it when the process that asked for it ends.

Its stdin is a pipe that nobody writes to. When the other end closes, because that process has ended in any way or wants
to stop the command, the command is killed with all processes of its group, and the folder of its working files is
removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time

_NOT_STARTED = 127
_SIGNALS = 128
"""The exit code of a command that was ended by a signal is this plus the signal's number, as in a shell."""

_REMOVALS = 20
_PAUSE_SECONDS = 0.05


def _run(folder: str, command: list[str]) -> int:
    """Run `command` in a process group of its own; return its exit code."""
    try:
        child = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
        )
    except OSError as error:
        print(f"{command[0]}: cannot be started: {error.strerror}", flush=True)
        return _NOT_STARTED
    abandoned = threading.Event()
    threading.Thread(target=_end_with_parent, args=(child, abandoned), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if abandoned.is_set():
        _remove(folder)
    return code if code >= 0 else _SIGNALS - code


def _end_with_parent(group: int, abandoned: threading.Event) -> None:
    """Wait for the end of stdin, then kill the process group."""
    os.read(0, 1)
    abandoned.set()
    os.killpg(group, signal.SIGKILL)


def _remove(folder: str) -> None:
    """Remove `folder`, where a killed process may still be making its last file."""
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            break
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2:]))
