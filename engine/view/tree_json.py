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
"""Version of the layout; readers refuse any other. Adding keys does not change it."""


def tree_object(result: SearchResult, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that `.json` files hold and pages embed.

    It has `format`, `version`, the fields of `SearchResult` and `settings`. The tree is `{"nodes": [...]}`, as in the
    lines of `--json`. Each node also has `token_ids`, `confidences` (null for a token that was given, not generated)
    and `token_texts`, which concatenate to its `text`. Numbers that are not finite become null.

    Raises:
        InputError: The settings cannot be stored as JSON, or are nested too deeply.
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
    """Return `tree_object` as strict JSON that can be encoded in UTF-8, whatever the model wrote."""
    return encodable(json.dumps(tree_object(result, settings), ensure_ascii=False, allow_nan=False)) + "\n"


def is_json(head: bytes) -> bool:
    """Whether a file that begins with `head` was written by `to_json`."""
    return head.startswith(f'{{"format": "{FORMAT}"'.encode())


def encodable(json_text: str) -> str:
    r"""`json_text` with lone surrogates replaced by their `\u` escapes, so that it can be encoded in UTF-8."""
    return json_text.encode(errors="backslashreplace").decode()


def read_tree_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the object back from a `.json` file.

    Raises:
        InputError: The file cannot be read, or was not written by `marcot search --tree FILE.json`.
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
    """A hint for a file that is not a tree: what it may be instead, and what to do."""
    if content.lstrip().startswith(b"<"):
        return "; a page shows a tree, and --tree FILE.json writes one that can be read"
    if b'"question"' in content[: content.find(b"\n") + 1 or None]:
        return "; results of --json and --out are lines of JSON without tokens, for json.loads one by one"
    return ""
