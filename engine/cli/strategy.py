"""Builds the strategy that a command line asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..errors import InputError
from ..sampling.sampling import Sampling
from ..search import Strategy
from ..search.strategy_spec import parse_strategies

_BUDGETS = ("max_tokens", "max_seconds")


def chosen_strategy(spec: str, given: Mapping[str, object], sampling: Sampling) -> Strategy:
    """Return the strategy that `spec` describes, with the parameters in `given`.

    If tokens or seconds are limited but no number of chains is given, the number of chains is not limited.

    Args:
        spec: A text such as `"mcts"` or `"beam:beams=8"`.
        given: Parameters; None for those that were not given.
        sampling: How tokens are drawn; sampling parameters in `spec` take precedence.

    Raises:
        InputError: There is no such strategy, or it has no such parameter.
    """
    [described, *more] = parse_strategies(spec)
    if more:
        raise InputError(f"strategy {spec!r}: give exactly one; marcot eval compares several")
    strategy = described.strategy
    wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    known = {field.name for field in fields(strategy)}
    if unknown := sorted(wanted.keys() - known):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unknown)
        raise InputError(f"the strategy {strategy.name} has no {names}")
    if "rollouts" not in wanted.keys() | described.given and any(name in wanted for name in _BUDGETS):
        wanted["rollouts"] = None
    of_sampling = described.given & ({field.name for field in fields(Sampling)} - known)
    own: dict[str, Any] = {name: getattr(strategy.sampling, name) for name in of_sampling}
    return replace(strategy, sampling=replace(sampling, **own), **wanted)
