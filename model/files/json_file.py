"""Reads JSON files of a checkpoint folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..errors import CheckpointError
from . import strict_json
from .plain_file import is_there, read_plain

MAX_BYTES = 64 * 2**20
"""Largest JSON file: the largest shard index of a real model is well under a tenth of this."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escaped surrogate: only then can a text have an unpaired one, which libraries in C or Rust refuse."""


def read_json(path: Path) -> dict[str, object]:
    """Return the object in the file `path`.

    Raises:
        CheckpointError: The file cannot be read, is too large, or is not a JSON object.
    """
    content = read_plain(path, MAX_BYTES)
    try:
        values = strict_json.parse(content, MAX_BYTES)
        if _SURROGATE.search(content):
            json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(f"{path}: has an unpaired surrogate, which is not text") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: must be a JSON object, not {type(values).__name__}")
    return values


def read_json_if_present(path: Path) -> dict[str, object]:
    """`read_json`, or an empty dict if there is no such file."""
    return read_json(path) if is_there(path) else {}
