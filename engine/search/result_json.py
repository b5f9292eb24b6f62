"""Search results as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args

from ...model.files.fields import MAX_NUMBER, Fields
from ..completion import FinishReason
from ..errors import InputError
from .result import Rollout, SearchResult, SearchStats, TreeNode


def result_to_dict(result: SearchResult, *, tokens: bool = True) -> dict[str, Any]:
    """The fields of `result` by name, with the tree as `{"nodes": [...]}`.

    Args:
        result: Any result.
        tokens: Whether nodes have their token ids, confidences and ends, which are most of the bytes.
    """
    entry = asdict(result)
    if not tokens:
        for node in entry["tree"]:
            del node["token_ids"], node["confidences"], node["token_ends"]
    entry["tree"] = {"nodes": entry["tree"]}
    return entry


def result_from_dict(entry: Mapping[str, Any], source: str) -> SearchResult:
    """The result that `result_to_dict` or a line of `marcot search` describes; other fields do not count.

    Args:
        entry: Parsed JSON.
        source: Where it comes from, for messages.

    Raises:
        InputError: A field is missing or makes no sense; says which.
    """
    found = Fields(entry, source, error=InputError)
    tree = tuple(_node(each, at) for at, each in enumerate(found.section("tree").records("nodes")))
    if not tree:
        raise InputError(f"{source}: its tree has no root")
    last = len(tree) - 1
    return SearchResult(
        question=found.text("question"),
        answer=found.text("answer"),
        text=found.text("text"),
        value=found.number("value", 0.0, low=-MAX_NUMBER),
        confidence=found.number("confidence", 0.0, low=-MAX_NUMBER),
        rollouts=tuple(_rollout(each, last) for each in found.records("rollouts")),
        tree=tree,
        best_path=found.integers("best_path", high=last),
        stats=_stats(found.section("stats")) if found.present("stats") else None,
        instruction=found.text("instruction", ""),
    )


def _rollout(found: Fields, last: int) -> Rollout:
    return Rollout(
        text=found.text("text"),
        value=found.number("value", 0.0, low=-MAX_NUMBER),
        answer=found.text("answer"),
        tokens=found.integer("tokens", low=0),
        finish_reason=found.choice("finish_reason", get_args(FinishReason)),
        leaf=found.integer("leaf", low=0, high=last),
        spent=found.integer("spent", 0, low=0),
    )


def _node(found: Fields, at: int) -> TreeNode:
    return TreeNode(
        id=found.integer("id", low=at, high=at),
        parent=None if at == 0 else found.integer("parent", low=0, high=at - 1),
        text=found.text("text"),
        visits=found.integer("visits", low=0),
        value=found.number("value", low=-MAX_NUMBER) if found.present("value") else None,
        tokens=found.integer("tokens", low=0),
        kind=found.text("kind", ""),
        token_ids=found.integers("token_ids") if found.present("token_ids") else (),
        confidences=found.numbers("confidences") if found.present("confidences") else (),
        token_ends=found.integers("token_ends") if found.present("token_ends") else (),
    )


def _stats(found: Fields) -> SearchStats:
    seconds = ("wall_s", "tokens_per_s")
    names = [each.name for each in fields(SearchStats)]
    return SearchStats(
        **{
            name: found.number(name, low=-1.0) if name in seconds else found.integer(name, low=0)  # type: ignore[arg-type]
            for name in names
        }
    )
