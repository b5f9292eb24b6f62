"""Results as `marcot search --out` writes them, made by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Told(NamedTuple):
    """A rollout: its steps, answer, value and finish reason."""

    steps: Sequence[str]
    answer: str
    value: float = 0.5
    finish_reason: str = "eos"


def result_line(question: str, rollouts: Sequence[Told], *, reference: object = None, **more: Any) -> dict[str, Any]:
    """A result whose rollouts share the nodes of their common first steps."""
    nodes: list[dict[str, Any]] = [{"id": 0, "parent": None, "text": "", "visits": 0, "value": None, "tokens": 0}]
    ids: dict[tuple[str, ...], int] = {(): 0}
    through: dict[int, list[float]] = {}
    for rollout in rollouts:
        for depth in range(1, len(rollout.steps) + 1):
            chain = tuple(rollout.steps[:depth])
            if chain not in ids:
                ids[chain] = len(nodes)
                nodes.append({"id": len(nodes), "parent": ids[chain[:-1]], "text": chain[-1], "tokens": 3})
            through.setdefault(ids[chain], []).append(rollout.value)
    for id, values in through.items():
        nodes[id] |= {"visits": len(values), "value": sum(values) / len(values)}
    entry: dict[str, Any] = {
        "index": 0,
        "question": question,
        "answer": rollouts[0].answer if rollouts else "",
        "confidence": 0.5,
        "rollouts": [
            {
                "text": "".join(rollout.steps),
                "value": rollout.value,
                "answer": rollout.answer,
                "tokens": 3 * len(rollout.steps),
                "finish_reason": rollout.finish_reason,
                "leaf": ids[tuple(rollout.steps)],
                "spent": 0,
            }
            for rollout in rollouts
        ],
        "tree": {"nodes": nodes},
        "settings": {"model": "m", "system": None},
    }
    if reference is not None:
        entry["input"] = {"answer": reference}
    return entry | more


def write_lines(path: Path, entries: Sequence[Any]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; an empty list if there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
