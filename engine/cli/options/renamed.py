"""Renamed command-line options, whose old names are accepted until 0.2."""

from __future__ import annotations

import warnings

_NOW = {
    "lead": "vote-margin",
    "patience": "convergence-window",
    "models": "model",
    "strategies": "strategy",
    "data": "input",
    "prompts": "input",
    "budget-tokens": "max-tokens",
}
_NOW_OF_SCORE = {"top-k": "top-logprobs"}


def present(name: str) -> str:
    """The current name of the option `name`, both without dashes; warns if `name` is an old one."""
    return _told(name, _NOW[name]) if name in _NOW else name


def present_of_score(name: str) -> str:
    """`present` for `marcot score`, in which `--top-logprobs` used to be `--top-k`."""
    return _told(name, _NOW_OF_SCORE[name]) if name in _NOW_OF_SCORE else present(name)


def _told(name: str, now: str) -> str:
    """Warn that the option `name` is now called `now`; return `now`."""
    from ...errors import RenamedWarning

    warnings.warn(f"--{name} is now called --{now}; the old name works until 0.2", RenamedWarning, stacklevel=3)
    return now
