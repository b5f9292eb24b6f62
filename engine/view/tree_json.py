"""A finished search as one JSON object, with every token, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from ...model.strict_json import finite, parse
from ..errors import InputError
from ..search import Rollout, SearchResult, SearchStats, TreeNode

FORMAT = "marcot-tree"
VERSION = 1
"""Of the layout; a reader refuses others. Keys may be added without a new one."""

_Record = TypeVar("_Record", Rollout, TreeNode, SearchStats)


def tree_object(result: SearchResult, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that `.json` files hold and pages embed.

    It has `format`, `version`, the fields of `SearchResult` with the tree as `{"nodes": [...]}` as in the lines of
    `--json`, and `settings`. A node also has `token_ids`, `confidences` (null for a given token) and `token_texts`,
    which add up to its `text`. What is no finite number is null.
    """
    entry: dict[str, Any] = {"format": FORMAT, "version": VERSION, **asdict(result)}
    for entered, node in zip(entry["tree"], result.tree, strict=True):
        entered["token_texts"] = node.token_texts
        del entered["token_ends"]
    entry["tree"] = {"nodes": entry["tree"]}
    entry["settings"] = dict(settings)
    return {key: finite(value) for key, value in entry.items()}


def to_json(result: SearchResult, settings: Mapping[str, Any]) -> str:
    """Return `tree_object` as strict JSON text, in UTF-8 whatever the model wrote."""
    return encodable(json.dumps(tree_object(result, settings), ensure_ascii=False, allow_nan=False)) + "\n"


def read_tree(path: str | os.PathLike[str]) -> SearchResult:
    """Read a `.json` file back: the same result, but for numbers that were not finite.

    Raises:
        InputError: It cannot be read, or is not what `marcot search --tree FILE.json` writes.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path={path!r:.100}: must be the name of a file")
    try:
        content = Path(path).read_bytes()
        entry = parse(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}{_hint(content)}") from error
    if not isinstance(entry, dict) or entry.get("format") != FORMAT:
        hint = _hint(content) if isinstance(entry, dict) else ""
        raise InputError(f"{path}: is not a tree of marcot search --tree FILE.json{hint}")
    if entry.get("version") != VERSION:
        raise InputError(f"{path}: has layout {entry.get('version')}; this marcot reads layout {VERSION}")
    try:
        known = {field.name: entry[field.name] for field in fields(SearchResult) if field.name in entry}
        known["rollouts"] = tuple(_record(Rollout, rollout) for rollout in entry["rollouts"])
        known["tree"] = tuple(_node(node) for node in entry["tree"]["nodes"])
        known["best_path"] = tuple(entry["best_path"])
        known["stats"] = None if entry["stats"] is None else _record(SearchStats, entry["stats"])
        return SearchResult(**known)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is damaged: {error}") from error


def _hint(content: bytes) -> str:
    """What a file that is no tree may be instead, with what to do."""
    if content.lstrip().startswith(b"<"):
        return "; a page shows a tree, and --tree FILE.json writes one that can be read"
    if b'"question"' in content[: content.find(b"\n") + 1 or None]:
        return "; results of --json and --out are lines of JSON without tokens, for json.loads one by one"
    return ""


def is_json(head: bytes) -> bool:
    """Whether a file that begins with `head` is from `to_json`."""
    return head.startswith(f'{{"format": "{FORMAT}"'.encode())


def encodable(json_text: str) -> str:
    r"""JSON text that UTF-8 can hold: halves of surrogate pairs become their `\u` escapes."""
    return json_text.encode(errors="backslashreplace").decode()


def _node(entry: dict[str, Any]) -> TreeNode:
    confidences = tuple(entry["confidences"])
    ends = tuple(accumulate(map(len, entry["token_texts"])))
    return _record(
        TreeNode, entry | {"token_ids": tuple(entry["token_ids"]), "confidences": confidences, "token_ends": ends}
    )


def _record(make: Callable[..., _Record], entry: dict[str, Any]) -> _Record:
    names = {field.name for field in fields(make)}  # type: ignore[arg-type]
    return make(**{name: value for name, value in entry.items() if name in names})
