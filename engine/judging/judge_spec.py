"""Parses a value such as `judge:MODEL?mode=yes`, which names the model that rates chains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final
from urllib.parse import parse_qsl

from ..errors import InputError
from ..search.values.value import Value
from .endpoint_judge import EndpointJudge
from .model_judge import MODES, ModelJudge

PREFIX: Final = "judge:"

_LOAD_OPTIONS: Final = ("device", "dtype", "compute", "weights", "kv_tokens")
"""Options of `Engine.load` that a judge may have."""


@cache
def parse_judge(spec: str) -> Value:
    """Return the judge that `spec` names; equal texts give the same judge, so that its model is loaded once.

    A spec is `judge:` and either the name or path of a model, or the base URL of an OpenAI-compatible server; options
    follow after `?`, separated by `&`.

    Raises:
        InputError: There is no name or URL, or an option does not exist or has an invalid value.
    """
    target, _, query = spec.removeprefix(PREFIX).partition("?")
    if not target:
        raise InputError(f"value {spec!r}: name a model, as in judge:qwen2.5-coder-0.5b, or the URL of a server")
    options = _options(spec, query)
    mode = options.pop("mode", "")
    if target.startswith(("http://", "https://")):
        if mode not in ("", "yes"):
            raise InputError(f"value {spec!r}: mode={mode} needs a model in this process; a server has mode=yes")
        model = options.pop("model", "")
        if not model:
            raise InputError(f"value {spec!r}: say which model of the server rates: add ?model=NAME")
        _refuse(spec, options, "mode, model")
        return EndpointJudge(spec, target, model)
    if mode and mode not in MODES:
        raise InputError(f"value {spec!r}: mode={mode}: must be {' or '.join(MODES)}")
    load: dict[str, str] = {name: options.pop(name) for name in _LOAD_OPTIONS if name in options}
    _refuse(spec, options, f"mode, {', '.join(_LOAD_OPTIONS)}")
    if not load.get("kv_tokens", "1").isdecimal():
        raise InputError(f"value {spec!r}: kv_tokens={load['kv_tokens']}: must be an integer")
    return ModelJudge(spec, target, "yes" if mode == "yes" else "logprob", load)


def _options(spec: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise InputError(f"value {spec!r}: write options as NAME=VALUE after the ?, with & between them") from error
    options = dict(pairs)
    if len(options) < len(pairs):
        raise InputError(f"value {spec!r}: an option is given twice")
    return options


def _refuse(spec: str, left: Mapping[str, str], known: str) -> None:
    for name in left:
        raise InputError(f"value {spec!r}: there is no option {name!r}; a judge of this kind has {known}")
