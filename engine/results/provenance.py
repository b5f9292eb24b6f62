"""What results depend on besides what was asked for: the checkpoint's content, and the date that its template shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Protocol

from ...model import find_here, open_checkpoint
from ..errors import InputError
from .results_file import ResultsFile


class Provenance(Protocol):
    """What makes results: an engine, or replicas of one.

    Attributes:
        settings: What was loaded, by the names in results; `"checkpoint"` is its fingerprint.
        shows_date: Whether the chat template shows today's date.
    """

    @property
    def settings(self) -> Mapping[str, str]: ...  # noqa: D102  (see above)

    @property
    def shows_date(self) -> bool: ...  # noqa: D102  (see above)


def find_provenance(engine: Provenance, day: date) -> dict[str, str]:
    """What results of `engine` depend on that nobody gave, by the names in their settings.

    Args:
        engine: The model.
        day: The date that chat templates see.
    """
    found = {}
    if "checkpoint" in engine.settings:  # an engine that was made of a decoder has none
        found["checkpoint"] = engine.settings["checkpoint"]
    if engine.shows_date:
        found["date"] = day.isoformat()
    return found


def run_date(given: date | None, file: ResultsFile | None = None) -> date:
    """The date of a run: the one that was given, or else that of the results it goes on from, or else today.

    Raises:
        InputError: The results name something else as their date.
    """
    recorded = file.provenance.get("date") if file is not None else None
    if given is not None or recorded is None:
        return given or date.today()
    try:
        return date.fromisoformat(recorded)
    except (TypeError, ValueError):
        raise InputError(f"the results name {recorded!r} as their date, which is not one; give another --out") from None


def check_unchanged(model: str, file: ResultsFile) -> None:
    """Check that results were made with the checkpoint as it is now, if that can be seen without a download.

    Raises:
        InputError: It is another one.
        CheckpointError: It is none any more.
    """
    path = find_here(model) if "checkpoint" in file.provenance else None
    if path is not None:
        with open_checkpoint(path) as checkpoint:
            file.check({"checkpoint": checkpoint.fingerprint()})
