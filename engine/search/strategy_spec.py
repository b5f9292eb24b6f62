"""Parses strategies as written on the command line: `greedy,mcts:action=mini-step-32,rollouts=8`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from inspect import isabstract
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import InputError
from ..sampling.sampling import Sampling
from .renamed import present_name
from .strategies import STRATEGIES
from .strategy import Strategy
from .user_import import import_attribute, is_import_path

_OWN = re.compile(r"\s*([\w.]+:\w+)\s*(?::(.*))?", re.DOTALL)
"""Matches a user's own class, `module:Class`, and the parameters that may follow it."""
_PARAMETER = re.compile(r"\s*(\w+)\s*=(.*)", re.DOTALL)
_LABEL = "label"
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NONE = ("none", "null")
_UNUSED_SAMPLING = ("max_tokens", "top_logprobs")
"""Fields of `Sampling` that a search sets itself."""

NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """A strategy and its name.

    Attributes:
        label: Its name in tables.
        strategy: The strategy with its parameters.
        given: Names of the parameters that were written out; all others have their defaults.
    """

    label: str
    strategy: Strategy
    given: frozenset[str] = frozenset()


def parse_strategies(text: str, shared: Mapping[str, str] = NO_PARAMETERS) -> list[StrategySpec]:
    """Return the strategies in a comma-separated list.

    Each is `NAME` or `NAME:PARAMETER=VALUE,PARAMETER=VALUE`, where `NAME` may be your own class, `module:Class`.
    Parameters are the fields of the strategy and of its `Sampling`, and `label`, the strategy's name in tables (by
    default, the text as typed).

    Args:
        text: The list.
        shared: Parameters for every strategy that has them; those in the list take precedence.

    Raises:
        InputError: A strategy or a parameter does not exist, a value is invalid, or two have the same label.
    """
    written: list[list[str]] = []
    for part in text.split(","):
        if _PARAMETER.fullmatch(part) and written:
            written[-1].append(part)
        else:
            written.append(_named(part))
    specs = [_spec(name, parts, shared) for name, *parts in written]
    kinds = [_types(type(spec.strategy)) for spec in specs]
    for field in shared:
        if not any(_present({field: ""}, types).keys() <= types.keys() for types in kinds):
            raise InputError(f"{field}={shared[field]}: none of the strategies has this parameter")
    labels = [spec.label for spec in specs]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"two strategies have the label {label!r}: add label=... to one of them")
    return specs


def parse_parameters(text: str) -> dict[str, str]:
    """Return the names and values of `--set`, such as `max_rollout_tokens=512,seed=3`.

    Raises:
        InputError: A part of it has another form.
    """
    return dict(_parameter(part, "--set") for part in text.split(",") if part.strip())


def _parameter(part: str, where: str) -> tuple[str, str]:
    match = _PARAMETER.fullmatch(part)
    if match is None:
        raise InputError(f"{where}: {part.strip()!r} is not of the form parameter=value")
    return match[1], match[2].strip()


def _spec(name: str, parts: list[str], shared: Mapping[str, str]) -> StrategySpec:
    kind = _kind(name)
    types = _types(kind)
    given: dict[str, str] = {}
    for part in parts:
        field, value = _parameter(part, name)
        if field in given:
            raise InputError(f"{name}: {field} is given twice")
        given[field] = value
    label = given.pop(_LABEL, "") or name + ":" * bool(given) + ",".join(f"{key}={given[key]}" for key in given)
    chosen = {field: value for field, value in _present(shared, types).items() if field in types}
    for field, value in _present(given, types).items():
        if field not in types:
            raise InputError(f"{name} has no parameter {field!r}: it has {', '.join(types)}, {_LABEL}")
        chosen[field] = value
    values = {field: _convert(value, types[field], f"{name}: {field}") for field, value in chosen.items()}
    try:
        return StrategySpec(label, _build(kind, values), frozenset(values))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _present(given: Mapping[str, str], types: Mapping[str, str]) -> dict[str, str]:
    """`given` with old parameter names replaced by the current ones; `types` has the strategy's parameters."""
    present: dict[str, str] = {}
    for field, value in given.items():
        name = present_name(field, types)
        if name in present:
            raise InputError(f"{name} is given twice, as {field} too")
        present[name] = value
    return present


def _named(part: str) -> list[str]:
    """The name of a strategy, and its first parameter if it has one."""
    if (match := _OWN.fullmatch(part)) and match[1].partition(":")[0] not in STRATEGIES:
        name, first = match[1], match[2]
    else:
        name, colon, rest = part.partition(":")
        first = rest if colon else None
    return [name.strip()] if first is None else [name.strip(), first]


def _kind(name: str) -> type[Strategy]:
    if name in STRATEGIES:
        return STRATEGIES[name]
    if not is_import_path(name):
        known = ", ".join(STRATEGIES)
        raise InputError(f"no strategy is called {name!r}: use {known}, or your own class as module:Class")
    kind = import_attribute(name, "strategy")
    if not isinstance(kind, type) or not issubclass(kind, Strategy) or isabstract(kind):
        raise InputError(f"strategy {name!r}: is {kind!r:.80}; it must be a class derived from Strategy with grow")
    if not isinstance(getattr(kind, "name", None), str):
        raise InputError(f'strategy {name!r}: the class needs a name, such as name = "{kind.__name__.lower()}"')
    return kind


def _build(kind: type[Strategy], values: Mapping[str, Any]) -> Strategy:
    own = {field.name for field in fields(kind)}
    drawing = {field: value for field, value in values.items() if field not in own}
    options = {field: value for field, value in values.items() if field in own}
    return kind(sampling=replace(Sampling(), **drawing), **options)


def _types(kind: type[Strategy]) -> dict[str, str]:
    """The type of each parameter as written in its class, without those that cannot be typed on a command line."""
    own = {field.name: getattr(field.type, "__name__", str(field.type)) for field in fields(kind)}
    drawing = {field.name: str(field.type) for field in fields(Sampling) if field.name not in _UNUSED_SAMPLING}
    return {
        field: type for field, type in (own | drawing).items() if any(part in _VALUE_PARSERS for part in _parts(type))
    }


def _parts(type: str) -> list[str]:
    return [part.strip() for part in type.split("|")]


def _convert(text: str, type: str, where: str) -> object:
    """`text` converted to the first of the types in `type` that it fits."""
    parts = _parts(type)
    if "None" in parts and text.lower() in _NONE:
        return None
    wanted = []
    for part in parts:
        if part in _VALUE_PARSERS:
            read, noun = _VALUE_PARSERS[part]
            wanted.append(noun)
            try:
                return read(text)
            except ValueError:
                continue
    if "None" in parts:
        wanted.append("none")
    raise InputError(f"{where}={text!r}: must be {' or '.join(wanted)}")


def _bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


class _ValueParser(NamedTuple):
    read: Callable[[str], Any]
    noun: str


_VALUE_PARSERS = MappingProxyType(
    {
        "bool": _ValueParser(_bool, "true or false"),
        "int": _ValueParser(int, "an integer"),
        "float": _ValueParser(float, "a number"),
        "str": _ValueParser(str, "text"),
        "tuple[str, ...]": _ValueParser(lambda text: (text,) if text else (), "text"),
        "tuple[int, ...]": _ValueParser(lambda text: tuple(map(int, text.split())), "integers separated by spaces"),
    }
)
