"""Errors of locating, downloading and reading models."""

from __future__ import annotations

from ..kernels import MarcotError

_MOST_CHARACTERS = 1000


class CheckpointError(MarcotError):
    """A checkpoint is missing, damaged or unreachable; the message names the file and, if known, the tensor."""

    exit_code = 4

    def __init__(self, message: str) -> None:
        """Use `message`, which may contain a checkpoint's text: escape what cannot be printed, and shorten it."""
        if not message.isprintable():
            message = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
        if len(message) > _MOST_CHARACTERS:
            message = f"{message[: _MOST_CHARACTERS // 2]} [...] {message[-_MOST_CHARACTERS // 2 :]}"
        super().__init__(message)


class UnsupportedConfigError(CheckpointError):
    """A checkpoint needs something this engine does not implement; the message names the field and its value."""


class ModelNotFoundError(CheckpointError):
    """There is no model of that name; the message says which names and paths are accepted."""


class DownloadError(CheckpointError):
    """A model could not be downloaded; the message says what to do next."""


class TokenizerError(CheckpointError):
    """A tokenizer's files are damaged or of a kind this engine does not support."""


class ChatTemplateError(CheckpointError):
    """A chat template is missing or broken, refuses the messages, or does something templates must not do."""
