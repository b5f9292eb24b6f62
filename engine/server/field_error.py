"""Says in one message what is wrong with the fields of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .schemas.base import NOT_DONE
from .schemas.patterns import MEANINGS

_NO_OBJECT = frozenset({"model_attributes_type", "model_type", "dict_type"})
"""Types of pydantic's errors about a value that must be a JSON object."""

_MESSAGES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field; GET /openapi.json lists all fields",
    **dict.fromkeys(_NO_OBJECT, "must be a JSON object"),
}
"""Own messages for some types of pydantic's errors."""

_BODY = "the body must be a JSON object, sent with Content-Type: application/json"

_SUBJECT = re.compile(r"^(Input|String|List|Dictionary) should ")
"""The beginning of pydantic's messages about a value."""

_COUNT = re.compile(r" after validation, not \d+$")

_TAGS = frozenset({"str", "int"})
"""Names of the alternatives of a union, which are no names of fields there."""


def field_error(errors: Sequence[Any]) -> tuple[str | None, str]:
    """The field at fault, if it is one with a name, and the message of the most informative of pydantic's errors."""
    if not errors:
        return None, "the request is invalid"
    # A field with a union type gives one error per alternative; the one with the longest location is most precise.
    of_one_field = len({each["loc"][:2] for each in errors}) == 1
    error = max(errors, key=lambda each: len(each["loc"])) if of_one_field else errors[0]
    param = _param(error)
    if param is None and error["type"] in _NO_OBJECT | {"missing"}:
        return None, _BODY
    alike = [each for each in errors if _param(each) == param and len(each["loc"]) == len(error["loc"])]
    # A value of the right type for an alternative is probably meant to be that.
    typed = [each for each in alike if not each["type"].endswith("_type")]
    message = " or ".join(dict.fromkeys(map(_message, typed or alike))).replace(" or must be ", " or ")
    return param, f"{param}: {message}" if param else message


def _param(error: Any) -> str | None:  # noqa: ANN401  (pydantic's errors are dicts)
    """The field or the index within it; None for the whole body."""
    place = [str(part) for part in error["loc"][1:] if _is_name(part)]
    if error["type"] == NOT_DONE:
        place.append(error["ctx"]["field"])
    return ".".join(place) or None


def _message(error: Any) -> str:  # noqa: ANN401
    if error["type"] == "string_pattern_mismatch":
        return MEANINGS[error["ctx"]["pattern"]]
    return _MESSAGES.get(error["type"]) or _COUNT.sub("", _SUBJECT.sub("must ", str(error["msg"])))


def _is_name(part: str | int) -> bool:
    """Whether part of an error's location is a field or an index, not the name that pydantic gives a type."""
    return isinstance(part, int) or (part.isidentifier() and part not in _TAGS and not part[:1].isupper())
