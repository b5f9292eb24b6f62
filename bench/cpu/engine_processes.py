"""The engines of one model. Each runs in a separate process and is loaded once, on first use."""

from __future__ import annotations

from pathlib import Path

from ..common.remote import MissingPackageError, Remote, RemoteError
from .conversion import converted
from .lineup import Contestant
from .results import Results


class UnavailableError(Exception):
    """An engine cannot be measured; the message says why."""


class EngineProcesses:
    """Starts engines and keeps them running; an engine that is not being measured sleeps."""

    def __init__(self, model: str, path: Path, threads: int, results: Results) -> None:
        """Set up the engines without loading anything.

        Args:
            model: Name of the model.
            path: Its checkpoint, a GGUF file or a folder.
            threads: CPU threads of every engine.
            results: Receives notes and versions.
        """
        self._model = model
        self._path = path
        self._threads = threads
        self._results = results
        self._members: dict[str, Remote | UnavailableError] = {}

    def member(self, contestant: Contestant) -> Remote:
        """Return the engine, loading it if necessary.

        Raises:
            UnavailableError: The engine is not installed or does not work here.
        """
        member = self._members.get(contestant.name)
        if member is None:
            member = self._load(contestant)
        elif isinstance(member, Remote) and member.ended:
            member.close()
            member = UnavailableError(f"{contestant.name} on {self._model}: it crashed during an earlier measurement")
        self._members[contestant.name] = member
        if isinstance(member, UnavailableError):
            self._results.note(str(member))
            raise member
        return member

    def processes(self) -> list[int]:
        """Return the ids of the processes of all engines that are running."""
        return [member.process for member in self._members.values() if isinstance(member, Remote) and not member.ended]

    def close(self) -> None:
        """End every engine."""
        for member in self._members.values():
            if isinstance(member, Remote):
                member.close()

    def _load(self, contestant: Contestant) -> Remote | UnavailableError:
        remote = Remote(contestant.python, contestant.environment)
        try:
            load(remote, contestant, self._path, self._threads, self._results)
        except MissingPackageError as error:
            remote.close()
            return UnavailableError(
                f"{contestant.name}: {error} is not installed: pip install {contestant.packages[0]}"
            )
        except (RemoteError, RuntimeError) as error:
            remote.close()
            return UnavailableError(f"{contestant.name} on {self._model}: {error}")
        return remote


def load(remote: Remote, contestant: Contestant, path: Path, threads: int, results: Results) -> float:
    """Load a model into `remote`; return the seconds that its engine took, without imports.

    Raises:
        RemoteError: Loading failed.
        RuntimeError: The file could not be converted to the format that the engine reads.
    """
    remote.call("probe", peer=contestant.peer)
    if contestant.conversion is not None:
        path = converted(path, contestant.conversion, contestant.python)
    loaded = remote.call(
        "load",
        peer=contestant.peer,
        model=str(path),
        packages=list(contestant.packages),
        options={"threads": threads, **contestant.options},
    )
    results.versions |= loaded["versions"]
    return float(loaded["seconds"])
