"""Answers of `/v1/models`, `/version` and `/health`."""

from __future__ import annotations

from typing import Literal

from .base import AnswerModel


class ModelCard(AnswerModel):
    """The served model under one of its names.

    Attributes:
        id: The name that requests use.
        created: When the server started, in Unix seconds.
        owned_by: Always `marcot`.
        root: The model's first name, the same for all its names.
        max_model_len: Length of its context, in tokens.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["marcot"] = "marcot"
    root: str
    parent: str | None = None
    max_model_len: int


class ModelList(AnswerModel):
    """The model under all its names."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class VersionAnswer(AnswerModel):
    """The version of marcot."""

    version: str


class HealthAnswer(AnswerModel):
    """The server accepts requests."""

    status: Literal["ok"] = "ok"
