"""Read traces from a result line of `marcot search` or `marcot eval --full`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ....model.files.fields import MAX_NUMBER
from ...errors import InputError
from ...search.answers import answers_agree, known_reference, normalise_answer
from ..trace import ReasoningTrace, TraceStep

Kind = TypeVar("Kind")

ENDED = ("eos", "stop")
"""Finish reasons that mean that the model ended the text itself."""


def is_result_line(entry: Mapping[str, Any]) -> bool:
    """Whether `entry` looks like a result of `marcot search`."""
    return "rollouts" in entry and "question" in entry


def is_trial_line(entry: Mapping[str, Any]) -> bool:
    """Whether `entry` looks like an answer in a results file of `marcot eval`."""
    return "label" in entry and is_result_line(entry)


def parse_trial(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The search result within a line of `marcot eval`, as `marcot search` would have written it.

    Raises:
        InputError: The evaluation did not keep the result.
    """
    if not isinstance(entry.get("result"), dict):
        raise InputError("has no texts, as marcot eval was run without --full")
    return {**entry["result"], "settings": entry.get("settings")}


def parse_traces(entry: Mapping[str, Any]) -> list[ReasoningTrace]:
    """The rollouts of a search as traces, in the order in which the search counted them.

    Raises:
        InputError: A field is missing or invalid; the message names the field but not the line.
    """
    question = _field(entry, "question", str)
    rollouts = [_object(each, "rollouts") for each in _field(entry, "rollouts", list)]
    nodes = [_object(each, "tree.nodes") for each in _field(_field(entry, "tree", dict), "nodes", list)]
    answers = [_field(rollout, "answer", str) for rollout in rollouts]
    keys = [normalise_answer(answer) for answer in answers]
    votes = Counter(keys)
    given = entry.get("input")
    reference = known_reference(given.get("answer")) if isinstance(given, dict) else None
    correct = [None if reference is None else answers_agree(answer, reference) for answer in answers]
    values = [_number(rollout, "value") for rollout in rollouts]
    known = [value for value in values if value is not None]
    chains = [_chain(rollout, nodes) for rollout in rollouts]
    through = Counter(node for chain in chains for node in chain)
    right = Counter(node for chain, hit in zip(chains, correct, strict=True) if hit for node in chain)

    def step(node: int) -> TraceStep:
        text, value = _field(nodes[node], "text", str), _number(nodes[node], "value")
        return TraceStep(text, value, through[node], None if reference is None else right[node])

    system = _field(entry, "settings", dict).get("system")
    return [
        ReasoningTrace(
            question=question,
            text=_field(rollout, "text", str),
            answer=answer,
            complete=rollout.get("finish_reason") in ENDED,
            system=system if isinstance(system, str) else None,
            value=value,
            confidence=_number(entry, "confidence"),
            agreement=votes[key] / len(rollouts),
            correct=hit,
            baseline=math.fsum(known) / len(known) if known else None,
            steps=tuple(step(node) for node in chain),
        )
        for rollout, value, answer, key, hit, chain in zip(
            rollouts, values, answers, keys, correct, chains, strict=True
        )
    ]


def _chain(rollout: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> list[int]:
    """The ids of the nodes from below the root to the rollout's leaf.

    Every parent must have a smaller id than its child, so the loop ends even on invalid input.
    """
    chain: list[int] = []
    node = _field(rollout, "leaf", int)
    while True:
        if not 0 <= node < len(nodes):
            raise InputError(f"a rollout or a node refers to node {node}, but there are only {len(nodes)} nodes")
        parent = nodes[node].get("parent")
        if parent is None:
            return chain[::-1]
        if not isinstance(parent, int) or not parent < node:
            raise InputError(f"node {node} has the parent {parent!r}; it must be an earlier node")
        chain.append(node)
        node = parent


def _field(entry: Mapping[str, Any], name: str, kind: type[Kind]) -> Kind:
    value = entry.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f'"{name}" must be {_NAMES[kind]}, but is {"missing" if value is None else repr(value)[:40]}')
    return value


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f'"{name}" must hold objects, but holds {value!r:.40}')
    return value


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        raise InputError(f'"{name}" must be a number or null, but is {value!r:.40}')
    return float(value)


_NAMES: Mapping[type, str] = {str: "a string", list: "a list", dict: "an object", int: "a whole number"}
