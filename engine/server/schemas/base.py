"""Base classes of all requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

NOT_DONE = "not_done"
"""Error type for refused fields; the error's context has the `field`."""


class RequestModel(BaseModel):
    """A request that refuses unknown fields, so that a misspelled field does not silently get its default.

    Values have the types that the OpenAPI description says: `"5"` or `true` is no number.

    Attributes:
        not_done: Unsupported fields of other servers, each with an explanation; refused unless they ask for nothing.
        no_effect: Fields of other servers that change no answer; accepted and dropped.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    not_done: ClassVar[Mapping[str, str]] = {}
    no_effect: ClassVar[frozenset[str]] = frozenset()

    def leaves_out(self, field: str) -> bool:
        """Whether a field has its default because the request does not name it."""
        return field not in self.model_fields_set

    @model_validator(mode="before")
    @classmethod
    def _without_others(cls, value: Any) -> Any:  # noqa: ANN401  (whatever was sent)
        if not isinstance(value, Mapping):
            return value
        kept: dict[str, Any] = {}
        for name, given in value.items():
            if name in cls.no_effect:
                continue
            if name in cls.not_done:
                if not asks_for_nothing(given):
                    raise PydanticCustomError(NOT_DONE, "{reason}", {"field": name, "reason": cls.not_done[name]})
            else:
                kept[name] = given
        return kept


class AnswerModel(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid")


def asks_for_nothing(given: object) -> bool:
    """Whether a field has a value that clients send when they do not use the field."""
    return (
        given is None or given is False or given in ("", "none", "auto", "text") or given in ([], {}, {"type": "text"})
    )
