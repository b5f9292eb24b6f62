"""The objects that the commands print with `--json`, and their text as strict JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import MarcotError
from ...model.files.strict_json import finite
from ..node import Node
from ..scoring import Score
from ..search import SearchResult, Solution, answers_agree
from ..search.result import Rollout, SearchStats, TreeNode
from ..text.printable import escaped
from .question_file import InputQuestion

_TOKENS = frozenset({"token_ids", "confidences", "token_ends"})
"""Fields of a `TreeNode` that are left out."""

JsonObject = dict[str, Any]
"""A JSON object. Its keys are documented by the function that makes it."""


def to_line(entry: JsonObject) -> str:
    """`entry` as strict JSON on one line, in readable Unicode, with null for numbers that are not finite.

    Characters that are unsafe on a terminal are escaped, so the line means the same wherever it is printed.
    """
    try:
        return escaped(json.dumps(entry, ensure_ascii=False, allow_nan=False))
    except ValueError:
        return escaped(json.dumps(finite(entry), ensure_ascii=False, allow_nan=False))


def search_object(
    question: InputQuestion, result: SearchResult, settings: Mapping[str, Any], found: Sequence[Solution] = ()
) -> JsonObject:
    """A searched question: `index`, its `id` if any, the fields of `SearchResult` without tokens, and `settings`.

    Different solutions, if requested, are under `solutions`. Other fields of the question's file are under `input`. If
    one of them is a reference answer, `correct` says whether the answer equals it.
    """
    entry = _name(question)
    entry |= dict(_fields(result))
    entry["rollouts"] = [dict(_fields(rollout)) for rollout in result.rollouts]
    nodes = ({name: value for name, value in _fields(node) if name not in _TOKENS} for node in result.tree)
    entry["tree"] = {"nodes": list(nodes)}
    entry["stats"] = None if result.stats is None else dict(_fields(result.stats))
    if found:
        entry["solutions"] = [dataclasses.asdict(solution) for solution in found]
    entry |= _context(question, settings)
    correct = is_correct(question, result)
    if correct is not None:
        entry["correct"] = correct
    return entry


def failure_object(question: InputQuestion, error: MarcotError, settings: Mapping[str, Any]) -> JsonObject:
    """A question that failed: `index`, its `id` if it has one, `question` and `error`."""
    return {**_name(question), "question": question.text, "error": str(error), **_context(question, settings)}


def sample_object(index: int, node: Node, top_logprobs: int) -> JsonObject:
    """A sample of `marcot generate`: per token its id, raw logprob, confidence and the most probable tokens."""
    top = slice(top_logprobs)
    return {
        "index": index,
        "text": node.text,
        "finish_reason": node.finish_reason,
        "confidence": node.confidence,
        "token_ids": node.token_ids.tolist(),
        "logprobs": _numbers(node.logprobs),
        "top_ids": node.top_ids[:, top].tolist(),
        "top_logprobs": _numbers(node.top_logprobs[:, top]),
        "confidences": _numbers(node.confidences),
    }


def score_object(score: Score) -> JsonObject:
    """The scored tokens of `marcot score`; position 0, which has no context, is null."""
    return {
        "token_ids": score.token_ids.tolist(),
        "logprobs": [None, *_numbers(score.logprobs[1:])],
        "top_ids": [None, *score.top_ids[1:].tolist()],
        "top_logprobs": [None, *_numbers(score.top_logprobs[1:])],
    }


def is_correct(question: InputQuestion, result: SearchResult) -> bool | None:
    """Whether the answer agrees with the reference; None if there is no reference."""
    return None if question.reference is None else answers_agree(result.answer, question.reference)


def _fields(record: SearchResult | Rollout | TreeNode | SearchStats) -> Iterator[tuple[str, Any]]:
    """The fields by name, not copied as `dataclasses.asdict` does, which takes 15 times as long."""
    return ((field.name, getattr(record, field.name)) for field in dataclasses.fields(record))


def _name(question: InputQuestion) -> JsonObject:
    return {"index": question.index} | ({} if question.id is None else {"id": question.id})


def _context(question: InputQuestion, settings: Mapping[str, Any]) -> JsonObject:
    entry: JsonObject = {"input": question.fields} if question.fields else {}
    return entry | {"settings": dict(settings)}


def _numbers(values: NDArray[np.float32]) -> list[Any]:
    """Nested lists with the shortest decimals that round-trip to the same fp32 numbers."""
    if values.ndim > 1:
        return [_numbers(row) for row in values]
    return [float(np.format_float_positional(value)) for value in values]
