"""Settings that results of earlier versions lack, because the option did not exist yet."""

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
        "asynchronous": False,
    }
)
"""For each setting that was added later, the value with which marcot behaves as before it was added.

Add every new option that results depend on, so that existing files can be resumed. The value may differ from the
option's default: `lead` (the name of the vote margin in files) was added with a default of 2 for MCTS, but before that,
no search stopped at a margin, which is 0.
"""


PROVENANCE = frozenset({"checkpoint", "date", "code"})
"""Settings that a run determines itself: the checkpoint's fingerprint, the date that its chat template shows, and
hashes of files with the user's code. Results of earlier versions lack them and match any value."""


class Change(NamedTuple):
    """A setting in which two results differ; None stands for a missing value."""

    name: str
    was: Any
    now: Any


def distinguishing(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` without later additions at their `AS_BEFORE` values; equal for results made with the same settings."""
    return {name: value for name, value in settings.items() if name not in AS_BEFORE or value != AS_BEFORE[name]}


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """The settings in which `was` and `now` differ, including single settings of groups such as `sampling`.

    A setting of `PROVENANCE` that only one of them has does not count as a difference.
    """
    before, after = _flat({**AS_BEFORE, **was}), _flat({**AS_BEFORE, **now})
    return [
        Change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
        and (name in before.keys() & after.keys() or name.partition(".")[0] not in PROVENANCE)
    ]


def select_provenance(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `settings` that a run determined itself (`PROVENANCE`)."""
    return {name: value for name, value in settings.items() if name in PROVENANCE}


def _flat(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{group}{name}.") if isinstance(value, dict) else {group + name: value}
    return flat
