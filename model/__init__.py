"""Checkpoints: config, weights and tokenizer, from a name or a path."""

from .chat_template import ChatTemplate, Message
from .checkpoint import Checkpoint
from .config import ModelConfig, RopeConfig
from .errors import (
    ChatTemplateError,
    CheckpointError,
    DownloadError,
    ModelNotFoundError,
    TokenizerError,
    UnsupportedConfigError,
)
from .formats import open_checkpoint
from .tokenizer import TextStream, Tokenizer

__all__ = [
    "ChatTemplate",
    "ChatTemplateError",
    "Checkpoint",
    "CheckpointError",
    "DownloadError",
    "Message",
    "ModelConfig",
    "ModelNotFoundError",
    "RopeConfig",
    "TextStream",
    "Tokenizer",
    "TokenizerError",
    "UnsupportedConfigError",
    "open_checkpoint",
]
