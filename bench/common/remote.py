"""The benchmark's side of an engine that runs in a child process."""

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
"""The slowest command, computing every path of the largest tree separately, takes a minute; more on a busy machine."""

_LOG_TAIL = 2_000


class RemoteError(Exception):
    """The child process reported an error, or did not answer."""


class MissingPackageError(RemoteError):
    """A package of the engine is not installed in the child's interpreter."""


class Remote:
    """Runs a program in a child process and calls its commands, such as those of `child.Child`, one at a time."""

    def __init__(self, python: str, environment: Mapping[str, str], program: str = "bench.common.child") -> None:
        """Run the module `program` with the interpreter `python`; `environment` adds to this process's variables."""
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            [python, str(_STARTER), program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,  # a separate process group, so that `close` ends all processes of the engine
        )

    @property
    def process(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the child has ended without being asked to, as after a crash."""
        return self._process.poll() is not None

    def call(self, command: str, **arguments: object) -> Any:  # noqa: ANN401  (whatever the command returns)
        """Run a command in the child and return its result.

        Raises:
            MissingPackageError: A package of the engine is not installed.
            RemoteError: Anything else went wrong; the message ends with the last output of the child, unless the error
                explains itself.
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
        raise RemoteError(f"{command}: {answer['error']}{'' if answer['explained'] else self._tail()}")

    def close(self) -> None:
        """End the process and all processes that it started, as some engines use several."""
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
        with suppress(ProcessLookupError):  # all of them may have ended already
            os.killpg(self._process.pid, signal.SIGKILL)

    def _tail(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return "\n" + self._log.read()[-_LOG_TAIL:]
