"""A finished search, read back from the JSON object that `tree_json` makes of it."""

from __future__ import annotations

import os
from itertools import accumulate
from math import nan
from pathlib import Path
from typing import get_args

from ...model.files import strict_json
from ...model.files.fields import MAX_COUNT, MAX_NUMBER, Fields
from ..completion import FinishReason
from ..errors import InputError
from ..search import Rollout, SearchResult, SearchStats, TreeNode
from .tree_json import FORMAT, VERSION

_COUNTS = (
    *("generated_tokens", "prefill_tokens", "reused_tokens", "recomputed_tokens", "full_rows", "preemptions"),
    "kv_pages_peak",
)


def read_tree(path: str | os.PathLike[str]) -> SearchResult:
    """Read a `.json` file back: the same result, but for numbers that were not finite.

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
    return _result(Fields(entry, str(path), error=InputError))


def _hint(content: bytes) -> str:
    """What a file that is no tree may be instead, with what to do."""
    if content.lstrip().startswith(b"<"):
        return "; a page shows a tree, and --tree FILE.json writes one that can be read"
    if b'"question"' in content[: content.find(b"\n") + 1 or None]:
        return "; results of --json and --out are lines of JSON without tokens, for json.loads one by one"
    return ""


def _result(fields: Fields) -> SearchResult:
    nodes = fields.section("tree").records("nodes")
    tree = tuple(_node(node, index) for index, node in enumerate(nodes))
    if not tree:
        raise fields.refuse("tree", "must have at least one node")
    rollouts = tuple(_rollout(rollout, len(tree)) for rollout in fields.records("rollouts"))
    best_path = fields.integers("best_path", high=len(tree) - 1)
    if tuple(tree[node].parent for node in best_path) != (None, *best_path[:-1])[: len(best_path)]:
        raise fields.refuse("best_path", "must lead from the root to a node")
    return SearchResult(
        question=fields.text("question"),
        answer=fields.text("answer"),
        text=fields.text("text"),
        value=_number(fields, "value"),
        confidence=_number(fields, "confidence"),
        rollouts=rollouts,
        tree=tree,
        best_path=best_path,
        stats=_stats(fields.section("stats")) if fields.present("stats") else None,
        instruction=fields.text("instruction", ""),
    )


def _node(fields: Fields, index: int) -> TreeNode:
    token_ids, texts, text = fields.integers("token_ids"), fields.texts("token_texts"), fields.text("text")
    confidences = fields.numbers("confidences")
    fields.integer("id", low=index, high=index)
    if not index and fields.present("parent"):
        raise fields.refuse("parent", "the root has none")
    if len(confidences) != len(token_ids):
        raise fields.refuse("confidences", "must be one for each token")
    if texts and (len(texts) != len(token_ids) or "".join(texts) != text):
        raise fields.refuse("token_texts", "must be one for each token, and add up to the text")
    return TreeNode(
        id=index,
        parent=fields.integer("parent", low=0, high=index - 1) if index else None,
        text=text,
        visits=fields.integer("visits", low=0, high=MAX_COUNT),
        value=_number(fields, "value") if fields.present("value") else None,
        tokens=fields.integer("tokens", low=0, high=MAX_COUNT),
        kind=fields.text("kind", ""),
        token_ids=token_ids,
        confidences=confidences,
        token_ends=tuple(accumulate(map(len, texts))),
    )


def _rollout(fields: Fields, nodes: int) -> Rollout:
    return Rollout(
        text=fields.text("text"),
        value=_number(fields, "value"),
        answer=fields.text("answer"),
        tokens=fields.integer("tokens", low=0, high=MAX_COUNT),
        finish_reason=fields.choice("finish_reason", get_args(FinishReason)),
        leaf=fields.integer("leaf", low=0, high=nodes - 1),
        spent=fields.integer("spent", 0, low=0, high=MAX_COUNT),
    )


def _stats(fields: Fields) -> SearchStats:
    counts = {name: fields.integer(name, low=0, high=MAX_COUNT) for name in _COUNTS}
    return SearchStats(**counts, wall_s=_number(fields, "wall_s"), tokens_per_s=_number(fields, "tokens_per_s"))


def _number(fields: Fields, name: str) -> float:
    """What was no finite number is null."""
    return fields.number(name, low=-MAX_NUMBER, high=MAX_NUMBER) if fields.present(name) else nan
