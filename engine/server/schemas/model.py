"""What the server is: `/v1/models`, `/version` and `/health`."""

from __future__ import annotations

from typing import Literal

from .base import AnswerModel


class ModelCard(AnswerModel):
    """The served model under one of its names.

    Attributes:
        id: What requests call it.
        created: Second of its loading.
        owned_by: Always `marcot`.
        root: The same for all names of one model.
        max_model_len: Tokens of its context.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["marcot"] = "marcot"
    root: str
    parent: str | None = None
    max_model_len: int


class ModelList(AnswerModel):
    """All names."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class VersionAnswer(AnswerModel):
    """The version of marcot."""

    version: str


class HealthAnswer(AnswerModel):
    """That the server answers."""

    status: Literal["ok"] = "ok"
