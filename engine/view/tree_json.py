"""A finished search as one JSON object, with every token."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...model.files import strict_json
from ..errors import InputError

if TYPE_CHECKING:
    from ..search import SearchResult

FORMAT = "marcot-tree"
VERSION = 1
"""Of the layout; a reader refuses others. Keys may be added without a new one."""


def tree_object(result: SearchResult, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that `.json` files hold and pages embed.

    It has `format`, `version`, the fields of `SearchResult` with the tree as `{"nodes": [...]}` as in the lines of
    `--json`, and `settings`. A node also has `token_ids`, `confidences` (null for a given token) and `token_texts`,
    which add up to its `text`. What is no finite number is null.

    Raises:
        InputError: The settings are nothing that JSON can have, or nested too deeply.
    """
    if strict_json.is_deep(settings):
        raise InputError("settings: are nested too deeply")
    try:
        json.dumps(settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"settings: are not JSON: {error}") from error
    entry: dict[str, Any] = {"format": FORMAT, "version": VERSION, **asdict(result)}
    for entered, node in zip(entry["tree"], result.tree, strict=True):
        entered["token_texts"] = node.token_texts
        del entered["token_ends"]
    entry["tree"] = {"nodes": entry["tree"]}
    entry["settings"] = dict(settings)
    return {key: strict_json.finite(value) for key, value in entry.items()}


def to_json(result: SearchResult, settings: Mapping[str, Any]) -> str:
    """Return `tree_object` as strict JSON text, in UTF-8 whatever the model wrote."""
    return encodable(json.dumps(tree_object(result, settings), ensure_ascii=False, allow_nan=False)) + "\n"


def is_json(head: bytes) -> bool:
    """Whether a file that begins with `head` is from `to_json`."""
    return head.startswith(f'{{"format": "{FORMAT}"'.encode())


def encodable(json_text: str) -> str:
    r"""JSON text that UTF-8 can hold: halves of surrogate pairs become their `\u` escapes."""
    return json_text.encode(errors="backslashreplace").decode()


def read_tree_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the object of a `.json` file back.

    Raises:
        InputError: It cannot be read, or is not what `marcot search --tree FILE.json` writes.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path={path!r:.100}: must be the name of a file")
    try:
        content = strict_json.content(Path(path))
        entry = strict_json.parse(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}{_hint(content)}") from error
    if not isinstance(entry, dict) or entry.get("format") != FORMAT:
        hint = _hint(content) if isinstance(entry, dict) else ""
        raise InputError(f"{path}: is not a tree of marcot search --tree FILE.json{hint}")
    if entry.get("version") != VERSION:
        raise InputError(f"{path}: has layout {entry.get('version')!r:.20}; this marcot reads layout {VERSION}")
    return entry


def _hint(content: bytes) -> str:
    """What a file that is no tree may be instead, with what to do."""
    if content.lstrip().startswith(b"<"):
        return "; a page shows a tree, and --tree FILE.json writes one that can be read"
    if b'"question"' in content[: content.find(b"\n") + 1 or None]:
        return "; results of --json and --out are lines of JSON without tokens, for json.loads one by one"
    return ""
