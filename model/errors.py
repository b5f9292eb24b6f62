"""What can go wrong between a model's name and its weights."""

from __future__ import annotations

from ..kernels import MarcotError

_MOST_CHARACTERS = 1000


class CheckpointError(MarcotError):
    """A checkpoint is missing, broken or cannot be had; the message names the file and, where known, the tensor."""

    exit_code = 4

    def __init__(self, message: str) -> None:
        """Say `message`, whatever a checkpoint has put into it: what cannot be printed is escaped, the middle cut."""
        if not message.isprintable():
            message = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
        if len(message) > _MOST_CHARACTERS:
            message = f"{message[: _MOST_CHARACTERS // 2]} [...] {message[-_MOST_CHARACTERS // 2 :]}"
        super().__init__(message)


class UnsupportedConfigError(CheckpointError):
    """A checkpoint asks for something this engine does not do; the message names the field and its value."""


class ModelNotFoundError(CheckpointError):
    """No model answers to a name; the message says which names and paths are accepted."""


class DownloadError(CheckpointError):
    """A model could not be brought to this machine; the message says what to do next."""


class TokenizerError(CheckpointError):
    """A tokenizer's files are broken or of a kind this engine does not build."""


class ChatTemplateError(CheckpointError):
    """A chat template is missing, broken, refuses the messages or does what templates must not do."""
