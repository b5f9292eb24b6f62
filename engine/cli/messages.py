"""Reads a conversation from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...model.files import strict_json
from ..errors import InputError
from .options.common import read_text


def read_messages(file: Path) -> list[dict[str, Any]]:
    """Return the messages in the JSON file `file`; - reads stdin.

    Raises:
        InputError: It cannot be read, or is not a list.
    """
    try:
        messages = strict_json.parse(read_text("-", "conversation")) if str(file) == "-" else strict_json.read(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error
    if not isinstance(messages, list):
        raise InputError(f'{file}: must be a list of messages, such as [{{"role": "user", "content": "Hello"}}]')
    return messages
