"""Settings that results depend on besides the options: the checkpoint's content, and the date in its chat template."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Protocol

from ...model import find_here, open_checkpoint
from ..errors import InputError
from .results_file import ResultsFile


class Provenance(Protocol):
    """What a run needs to know of an engine, or of the replicas of one, to record where results come from.

    Attributes:
        settings: The load options, by their names in results; `"checkpoint"` is the fingerprint of the checkpoint.
        shows_date: Whether the chat template shows today's date.
    """

    @property
    def settings(self) -> Mapping[str, str]: ...  # noqa: D102  (see above)

    @property
    def shows_date(self) -> bool: ...  # noqa: D102  (see above)


def find_provenance(engine: Provenance, day: date) -> dict[str, str]:
    """The settings that results of `engine` depend on besides the options, by their names in results.

    Args:
        engine: The engine.
        day: The date that the chat template shows as today's.
    """
    found = {}
    if "checkpoint" in engine.settings:  # an engine built from a decoder has none
        found["checkpoint"] = engine.settings["checkpoint"]
    if engine.shows_date:
        found["date"] = day.isoformat()
    return found


def run_date(given: date | None, file: ResultsFile | None = None) -> date:
    """The date of a run: `given`, else the date in the results that it resumes, else today.

    Raises:
        InputError: The results' date is invalid.
    """
    recorded = file.provenance.get("date") if file is not None else None
    if given is not None or recorded is None:
        return given or date.today()
    try:
        return date.fromisoformat(recorded)
    except (TypeError, ValueError):
        raise InputError(f"the date {recorded!r} in the results is invalid; give another --out") from None


def check_unchanged(model: str, file: ResultsFile) -> None:
    """Check that results were made with the current checkpoint, unless that would need a download.

    Raises:
        InputError: The checkpoint has changed since.
        CheckpointError: The checkpoint is no longer valid.
    """
    path = find_here(model) if "checkpoint" in file.provenance else None
    if path is not None:
        with open_checkpoint(path) as checkpoint:
            file.check({"checkpoint": checkpoint.fingerprint()})
