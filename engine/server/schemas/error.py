"""How errors are told, which is OpenAI's form."""

from __future__ import annotations

from .base import AnswerModel


class ErrorDetail(AnswerModel):
    """What went wrong.

    Attributes:
        message: What it is, and what to do.
        type: Its kind, such as `invalid_request_error`.
        param: The field of the request that is at fault, where it is one.
        code: The HTTP status, as a number in OpenAI's field for it.
    """

    message: str
    type: str
    param: str | None = None
    code: int


class ErrorAnswer(AnswerModel):
    """The body of every answer that is an error."""

    error: ErrorDetail
