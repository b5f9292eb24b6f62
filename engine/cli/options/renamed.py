"""Options by their earlier names, which are taken until 0.2."""

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
    """The present name of the option `name`, both without dashes."""
    return _told(name, _NOW[name]) if name in _NOW else name


def present_of_score(name: str) -> str:
    """`present` for `marcot score`, in which `--top-logprobs` used to be `--top-k`."""
    return _told(name, _NOW_OF_SCORE[name]) if name in _NOW_OF_SCORE else present(name)


def _told(name: str, now: str) -> str:
    """`now`, and a warning that `name` is no longer the name."""
    from ...errors import RenamedWarning

    warnings.warn(f"--{name} is now called --{now}; the old name works until 0.2", RenamedWarning, stacklevel=3)
    return now
