"""Error answers, in OpenAI's format."""

from __future__ import annotations

from .base import AnswerModel


class ErrorDetail(AnswerModel):
    """What went wrong.

    Attributes:
        message: What is wrong, and what to do about it.
        type: The kind of error, such as `invalid_request_error`.
        param: The field of the request that is at fault; null if it is not a single field.
        code: The HTTP status, as a number.
    """

    message: str
    type: str
    param: str | None = None
    code: int


class ErrorAnswer(AnswerModel):
    """The body of every error answer."""

    error: ErrorDetail
