"""One question answered once: the part of a search that evaluations keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan
from typing import Any, get_args

from ...model.files.fields import MAX_COUNT, MAX_NUMBER, Fields
from ..completion import FinishReason
from ..errors import InputError
from ..search import Rollout, SearchResult, TreeNode, answers_agree, reference_answer
from ..text.brief import brief_record

_agree = lru_cache(maxsize=1 << 16)(answers_agree)
"""Cached, because a report checks each rollout a dozen times; holds the rollouts of a few hundred questions."""

_COLUMNS = ("answer", "value", "tokens", "finish_reason", "leaf", "spent")


@dataclass(frozen=True, slots=True)
class Trial:
    """How a strategy answered a question. A line of a results file holds a trial and little more.

    Attributes:
        index: Position of the question in its data set.
        question: Identity of the question: data set, number and a hash of its text.
        reference: The right answer.
        answer: The answer given.
        value: Reward of the chosen rollout; NaN if it has none.
        confidence: Share of the total rollout reward that agrees with the answer.
        tokens: Tokens generated.
        seconds: Time since the run's previous trial ended; the trials of a run add up to its wall time.
        rollouts: All rollouts, without their texts.
        parents: Parent of each node of the search tree; None for the root.
    """

    index: int
    question: str
    reference: str
    answer: str
    value: float
    confidence: float
    tokens: int
    seconds: float
    rollouts: tuple[Rollout, ...]
    parents: tuple[int | None, ...]

    @classmethod
    def of(cls, index: int, question: str, reference: str, result: SearchResult, seconds: float) -> Trial:
        """Make a trial from a search result."""
        assert result.stats is not None
        rollouts = tuple(
            Rollout("", each.value, each.answer, each.tokens, each.finish_reason, each.leaf, each.spent)
            for each in result.rollouts
        )
        return cls(
            index=index,
            question=question,
            reference=reference_answer(reference),
            answer=result.answer,
            value=result.value,
            confidence=result.confidence,
            tokens=result.stats.generated_tokens,
            seconds=seconds,
            rollouts=rollouts,
            parents=tuple(node.parent for node in result.tree),
        )

    def __repr__(self) -> str:
        return brief_record(self, "question", "reference", "answer", "value", "tokens")

    def agrees(self, answer: str) -> bool:
        """Whether `answer` is right."""
        return _agree(answer, self.reference)

    @property
    def correct(self) -> bool:
        """Whether the answer given is right."""
        return self.agrees(self.answer)

    @property
    def ended(self) -> Sequence[Rollout]:
        """The rollouts that finished with an answer, or all rollouts if none did."""
        return ended(self.rollouts)

    @property
    def right_rollouts(self) -> int:
        """Number of rollouts in `ended` that have the right answer."""
        return sum(self.agrees(rollout.answer) for rollout in self.ended)

    def to_object(self) -> dict[str, Any]:
        """The trial as a JSON object; the rollouts are stored as columns to save space."""
        return {
            "index": self.index,
            "question": self.question,
            "reference": self.reference,
            "answer": self.answer,
            "correct": self.correct,
            "value": self.value,
            "confidence": self.confidence,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "rollouts": {name: [getattr(rollout, name) for rollout in self.rollouts] for name in _COLUMNS},
            "parents": list(self.parents),
        }

    @classmethod
    def from_object(cls, entry: Mapping[str, Any]) -> Trial:
        """Read what `to_object` wrote.

        Raises:
            InputError: A field is invalid; the message names the field but not the line.
        """
        fields = Fields(entry, "is not a result of marcot eval", error=InputError)
        parents = entry.get("parents")
        if (
            not isinstance(parents, list)
            or parents[:1] != [None]
            or not all(type(parent) is int and 0 <= parent <= at for at, parent in enumerate(parents[1:]))
        ):
            raise fields.refuse("parents", "must be null for the root, and an earlier node for every other")
        columns = fields.section("rollouts")
        values = columns.numbers("value")
        counts = [columns.integers(name) for name in ("tokens", "spent")]
        texts = [columns.texts(name) for name in ("answer", "finish_reason")]
        leaves = columns.integers("leaf", high=len(parents) - 1)
        if any(len(column) != len(values) for column in (*counts, *texts, leaves)):
            raise fields.refuse("rollouts", "must be columns of the same length")
        return cls(
            index=fields.integer("index", low=0, high=MAX_COUNT),
            question=fields.text("question"),
            reference=fields.text("reference"),
            answer=fields.text("answer"),
            value=_number(fields, "value"),
            confidence=_number(fields, "confidence"),
            tokens=fields.integer("tokens", low=0, high=MAX_COUNT),
            seconds=fields.number("seconds", low=-1.0),
            rollouts=tuple(
                Rollout("", nan if value is None else value, answer, tokens, _reason(columns, reason), leaf, spent)
                for value, answer, tokens, reason, leaf, spent in zip(
                    values, texts[0], counts[0], texts[1], leaves, counts[1], strict=True
                )
            ),
            parents=tuple(parents),
        )

    def after(self, budget: int) -> tuple[list[Rollout], list[TreeNode]]:
        """The rollouts counted by the time `budget` tokens had been generated, and the tree that they form.

        The tree holds only nodes on the chains of these rollouts, and its visits and values count only them. Its nodes
        are renumbered without gaps.
        """
        counted = [rollout for rollout in self.rollouts if rollout.spent <= budget]
        values: dict[int, list[float]] = {0: []}
        for rollout in counted:
            for node in self._chain(rollout.leaf):
                values.setdefault(node, []).append(rollout.value)
        ids = {node: new for new, node in enumerate(sorted(values))}
        tree = []
        for node, new in ids.items():
            seen, parent = values[node], self.parents[node]
            mean = sum(seen) / len(seen) if seen else None
            tree.append(TreeNode(new, None if parent is None else ids[parent], "", len(seen), mean, 0))
        moved = [
            Rollout("", each.value, each.answer, each.tokens, each.finish_reason, ids[each.leaf], each.spent)
            for each in counted
        ]
        return moved, tree

    def _chain(self, leaf: int) -> list[int]:
        chain, at = [], int(leaf)
        while True:
            chain.append(at)
            parent = self.parents[at]
            if parent is None:
                return chain
            at = parent


def ended(rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
    """The rollouts that finished with an answer, or all if none did: the answer of a cut-off chain is a guess."""
    return [rollout for rollout in rollouts if rollout.complete and rollout.answer] or rollouts


def _number(fields: Fields, name: str) -> float:
    """A number, or NaN if the field is null, since JSON has no NaN."""
    return fields.number(name, low=-MAX_NUMBER, high=MAX_NUMBER) if fields.present(name) else nan


def _reason(columns: Fields, reason: str) -> FinishReason:
    for known in get_args(FinishReason):
        if reason == known:
            return known  # type: ignore[no-any-return]
    raise columns.refuse("finish_reason", f"must hold {', '.join(get_args(FinishReason))}")
