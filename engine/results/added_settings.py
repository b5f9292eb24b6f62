"""Settings that results of earlier versions do not name, since there was no such option yet."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

AS_BEFORE: Mapping[str, Any] = MappingProxyType(
    {
        "compute": "exact",
        "weights": "stored",
        "value": "marco",
        "answer_from": "auto",
        "prune": 0.0,
        "patience": None,
        "stop_decided": False,
        "greedy_first": False,
        "lead": 0,
        "kv_dtype": "auto",
        "instruction": "",
    }
)
"""For each setting that came later, the value that does what was done before it came.

Whoever adds an option to what a result depends on adds it here as well, so that files that are there can be gone on
with. The value need not be the option's default: `lead` came with one of 2, and before it no search stopped for a lead.
"""


PROVENANCE = frozenset({"checkpoint", "date", "code"})
"""Settings that nobody gives and a run finds: the checkpoint's fingerprint, the date that its chat template shows, and
hashes of files with code of the user's. Results of earlier versions do not name them: they may be of any."""


class Change(NamedTuple):
    """A setting in which two results differ; one without a value is None."""

    name: str
    was: Any
    now: Any


def distinguishing(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` less what is as it was before the option came: the same for results that were made alike."""
    return {name: value for name, value in settings.items() if name not in AS_BEFORE or value != AS_BEFORE[name]}


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """In what results with the settings `was` and `now` differ; of settings in groups, such as `sampling`, which.

    Where only one of them names what a run finds, that is no difference.
    """
    before, after = _flat({**AS_BEFORE, **was}), _flat({**AS_BEFORE, **now})
    return [
        Change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
        and (name in before.keys() & after.keys() or name.partition(".")[0] not in PROVENANCE)
    ]


def select_provenance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `settings` that a run found."""
    return {name: value for name, value in settings.items() if name in PROVENANCE}


def _flat(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{group}{name}.") if isinstance(value, dict) else {group + name: value}
    return flat
