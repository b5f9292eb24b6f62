"""Renamed command-line options, whose old names are accepted until 0.2."""

from __future__ import annotations

import warnings

_NEW_NAMES = {
    "lead": "vote-margin",
    "patience": "convergence-window",
    "models": "model",
    "strategies": "strategy",
    "data": "input",
    "prompts": "input",
    "budget-tokens": "max-tokens",
}
_NEW_NAMES_OF_SCORE = {"top-k": "top-logprobs"}


def present(name: str) -> str:
    """The current name of the option `name`, both without dashes; warns if `name` is an old one."""
    return _renamed(name, _NEW_NAMES[name]) if name in _NEW_NAMES else name


def present_of_score(name: str) -> str:
    """`present` for `marcot score`, in which `--top-logprobs` used to be `--top-k`."""
    return _renamed(name, _NEW_NAMES_OF_SCORE[name]) if name in _NEW_NAMES_OF_SCORE else present(name)


def _renamed(name: str, new: str) -> str:
    """Warn that the option `name` is now called `new`; return `new`."""
    from ...errors import RenamedWarning

    warnings.warn(f"--{name} is now called --{new}; the old name works until 0.2", RenamedWarning, stacklevel=3)
    return new
