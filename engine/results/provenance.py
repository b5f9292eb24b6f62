"""What results depend on besides what was asked for: the checkpoint's content, and the date that its template shows."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from ...model import find_here, open_checkpoint
from ..errors import InputError
from .results_file import ResultsFile

if TYPE_CHECKING:
    from ..engine import Engine


def find_provenance(engine: Engine, day: date) -> dict[str, str]:
    """What results of `engine` depend on that nobody gave, by the names in their settings.

    Args:
        engine: The model.
        day: The date that chat templates see.
    """
    found = {}
    if "checkpoint" in engine.settings:  # an engine that was made of a decoder has none
        found["checkpoint"] = engine.settings["checkpoint"]
    template = engine.tokenizer and engine.tokenizer.chat_template
    if template and template.shows_date:
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
