"""The engines of one model, each loaded once, in a process of its own, when it is first asked for."""

from __future__ import annotations

from pathlib import Path

from ..common.remote import MissingPackageError, Remote, RemoteError
from .conversion import converted
from .lineup import Contestant
from .results import Results


class UnavailableError(Exception):
    """An engine cannot take part; the message says why."""


class Team:
    """Starts engines and keeps them; those that are not being measured sleep."""

    def __init__(self, model: str, path: Path, threads: int, results: Results) -> None:
        """Nothing is loaded yet.

        Args:
            model: Name of the model.
            path: Its GGUF file.
            threads: CPU threads of every engine.
            results: Where notes and versions go.
        """
        self._model = model
        self._path = path
        self._threads = threads
        self._results = results
        self._members: dict[str, Remote | UnavailableError] = {}

    def member(self, contestant: Contestant) -> Remote:
        """The loaded engine.

        Raises:
            UnavailableError: It is not installed or does not work here.
        """
        if contestant.name not in self._members:
            self._members[contestant.name] = self._load(contestant)
        member = self._members[contestant.name]
        if isinstance(member, UnavailableError):
            self._results.note(str(member))
            raise member
        return member

    def processes(self) -> list[int]:
        """Ids of the processes that run now."""
        return [member.process for member in self._members.values() if isinstance(member, Remote)]

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
    """Load a model into `remote`; returns the seconds that its engine took, imports excluded.

    Raises:
        RemoteError: It did not work.
        RuntimeError: The file could not be converted to what the engine reads.
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
