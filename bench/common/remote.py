"""An engine in a child process, seen from the benchmark."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_STARTER = Path(__file__).with_name("start_child.py")

_TIMEOUT_S = 1200
"""Computing every path of the largest tree apart takes a minute; a busy machine takes several times that."""

_LOG_TAIL = 2_000


class RemoteError(Exception):
    """The child answered with an error, or not at all."""


class MissingPackageError(RemoteError):
    """A package of the engine is not installed in the child's interpreter."""


class Remote:
    """Calls the commands of a program, such as those of `child.Child`, in a process of its own, one at a time."""

    def __init__(self, python: str, environment: Mapping[str, str], program: str = "bench.common.child") -> None:
        """Start the module `program` with the interpreter `python`, with `environment` besides this process's own."""
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            [python, str(_STARTER), program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,  # a group of its own, so that `close` also ends what the engine has started
        )

    @property
    def process(self) -> int:
        """Id of the process."""
        return self._process.pid

    def call(self, command: str, **arguments: object) -> Any:  # noqa: ANN401  (what the command returns)
        """Run a command in the child and return its result.

        Raises:
            MissingPackageError: A module of the engine is not there.
            RemoteError: Anything else that went wrong; the message has the end of what the child printed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RemoteError(f"{command}: the process is gone{self._tail()}") from None
        if not select.select([self._process.stdout], [], [], _TIMEOUT_S)[0]:
            self._kill()
            raise RemoteError(f"{command}: no answer in {_TIMEOUT_S} s")
        line = self._process.stdout.readline()
        if not line:
            raise RemoteError(f"{command}: the process ended with status {self._process.wait()}{self._tail()}")
        answer = json.loads(line)
        if "result" in answer:
            return answer["result"]
        if answer["missing"]:
            raise MissingPackageError(answer["missing"])
        raise RemoteError(f"{command}: {answer['error']}{self._tail()}")

    def close(self) -> None:
        """End the process, and those that it has started: some engines run in several."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):  # all of them may have ended by themselves
            os.killpg(self._process.pid, signal.SIGKILL)

    def _tail(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return "\n" + self._log.read()[-_LOG_TAIL:]
