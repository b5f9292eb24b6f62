"""What a search returns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from itertools import accumulate, pairwise
from math import nan
from pathlib import Path
from typing import Any, get_args

from ...model.files.fields import MAX_COUNT, MAX_NUMBER, Fields
from ..completion import FinishReason
from ..errors import InputError
from ..text.brief import brief, brief_record
from .answers import votes


@dataclass(frozen=True, slots=True)
class Rollout:
    """A chain from the prompt to a terminal state.

    Attributes:
        text: The whole generated text.
        value: The chain's value, from 0 to 1.
        answer: The answer parsed from the text; empty if there is none.
        tokens: Drawn tokens of the chain, including those shared with other chains.
        finish_reason: Why the chain ended; `"length"`, `"cancelled"` and `"pruned"` mean that it was cut short.
        leaf: Id of the tree node at its end; the chain is that node and all nodes above it.
        spent: Tokens drawn for the question up to the time when this rollout was counted.
    """

    text: str
    value: float
    answer: str
    tokens: int
    finish_reason: FinishReason
    leaf: int
    spent: int = 0

    @property
    def complete(self) -> bool:
        """Whether the model ended the chain itself."""
        return self.finish_reason in ("eos", "stop")

    def __repr__(self) -> str:
        return brief_record(self, "text", "answer", "value", "tokens", "finish_reason")


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of the finished search tree.

    Attributes:
        id: Index in `SearchResult.tree`; the root is 0.
        parent: Index of the parent; None for the root.
        text: Text that this node adds to its parent's.
        visits: Number of rollouts that went through it.
        value: Mean value of those rollouts; if there are none, the rating of the unfinished chain that ends here, or
            None.
        tokens: Number of tokens that this node adds, including given ones.
        kind: Kind of action, such as "step" or "reflection"; empty for the root.
        token_ids: The tokens. Left out of JSON unless requested, because they would make results large.
        confidences: Confidence of each token; None for a given token.
        token_ends: Number of characters of `text` up to the end of each token; empty until the engine fills it in.
    """

    id: int
    parent: int | None
    text: str
    visits: int
    value: float | None
    tokens: int
    kind: str = ""
    token_ids: tuple[int, ...] = ()
    confidences: tuple[float | None, ...] = ()
    token_ends: tuple[int, ...] = ()

    @property
    def token_texts(self) -> tuple[str, ...]:
        """The text of each token; together they are `text`. A character that spans tokens belongs to the last one."""
        return tuple(self.text[start:end] for start, end in pairwise((0, *self.token_ends)))

    def __repr__(self) -> str:
        return brief_record(self, "id", "parent", "text", "visits", "value", "tokens", "kind")


@dataclass(frozen=True, slots=True)
class SearchStats:
    """What a search cost.

    Attributes:
        generated_tokens: Tokens drawn.
        prefill_tokens: Given tokens whose K and V were computed.
        reused_tokens: Tokens above the forks of branches that were already in the cache.
        recomputed_tokens: Tokens run through the model again after an eviction or a preemption.
        full_rows: Draws that needed a full row of logits to truncate exactly.
        preemptions: How often a branch lost its K and V to make room.
        wall_s: Wall-clock seconds of the search, during which other questions may have run too.
        tokens_per_s: `generated_tokens / wall_s`.
        kv_pages_peak: Highest number of KV pages in use so far, by the whole engine.
    """

    generated_tokens: int
    prefill_tokens: int
    reused_tokens: int
    recomputed_tokens: int
    full_rows: int
    preemptions: int
    wall_s: float
    tokens_per_s: float
    kv_pages_peak: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of searching one question.

    Attributes:
        question: The question as the user wrote it.
        answer: The chosen answer.
        text: The whole text of the chosen rollout.
        value: Value of the chosen rollout.
        confidence: Sum of the values of rollouts with the same answer, divided by that of all rollouts; from 0 to 1; 0
            if there is no answer.
        rollouts: All rollouts, in the order they finished.
        tree: All nodes, parents before children.
        best_path: Ids of the tree nodes on the chosen rollout, root first.
        stats: What the search cost; None until the engine fills it in.
        instruction: The text added to the question in the prompt.
    """

    question: str
    answer: str
    text: str
    value: float
    confidence: float
    rollouts: tuple[Rollout, ...]
    tree: tuple[TreeNode, ...]
    best_path: tuple[int, ...]
    stats: SearchStats | None = None
    instruction: str = ""

    def __repr__(self) -> str:
        found = f"answer={brief(self.answer)}, confidence={self.confidence:.2f}, value={self.value:.3f}"
        return f"SearchResult({found}, {self.size})"

    def _repr_html_(self) -> str:
        from ..view.notebook import to_notebook

        return to_notebook(self)

    def to_dict(self) -> dict[str, Any]:
        """The object that `save` writes: the fields by name, the tree as `{"nodes": [...]}` with every token."""
        from ..view.tree_json import tree_object

        return tree_object(self, {})

    @staticmethod
    def from_dict(entry: Mapping[str, Any], source: str = "result") -> SearchResult:
        """Convert an object made by `to_dict` back to a result. Infinite numbers have become NaN.

        Args:
            entry: Parsed JSON.
            source: Where it comes from, for messages.

        Raises:
            InputError: A field is missing or invalid; the message says which.
        """
        return _parse_result(Fields(entry, source, error=InputError))

    def save(self, path: str | os.PathLike[str], settings: Mapping[str, Any] | None = None) -> Path:
        """Write the search as the file that `marcot search --tree FILE.json` writes; see `save_html`."""
        return self._write(Path(path), ".json", settings)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> SearchResult:
        """Read a file that `save` or `marcot search --tree FILE.json` wrote.

        Raises:
            InputError: The file cannot be read, or is of another kind.
        """
        from ..view.tree_json import read_tree_object

        return SearchResult.from_dict(read_tree_object(path), str(path))

    def save_html(self, path: str | os.PathLike[str], settings: Mapping[str, Any] | None = None) -> Path:
        """Write the search as a web page, like `marcot search --tree FILE.html` (docs/tree.md).

        Args:
            path: A name that ends in .html.
            settings: The settings of the search, to show on the page.

        Returns:
            The path of the file.

        Raises:
            InputError: The name has another extension, or the file exists and was not written by marcot.
            OutputError: It cannot be written.
        """
        return self._write(Path(path), ".html", settings)

    @property
    def votes(self) -> tuple[int, int]:
        """How many rollouts gave `answer`, and how many gave any answer."""
        return votes(self.answer, self.rollouts)

    @property
    def size(self) -> str:
        """The size of the search, in words."""
        return f"{len(self.rollouts)} rollouts, {len(self.tree)} nodes"

    def _write(self, path: Path, suffix: str, settings: Mapping[str, Any] | None) -> Path:
        from ..view.tree_file import TreeFile

        if path.suffix.lower() != suffix:
            raise InputError(f"{path}: give a name that ends in {suffix}")
        return TreeFile(path, numbered=False).write(0, self, settings or {})


def _parse_result(fields: Fields) -> SearchResult:
    nodes = fields.section("tree").records("nodes")
    tree = tuple(_parse_node(node, index) for index, node in enumerate(nodes))
    if not tree:
        raise fields.refuse("tree", "must have at least one node")
    rollouts = tuple(_parse_rollout(rollout, len(tree)) for rollout in fields.records("rollouts"))
    best_path = fields.integers("best_path", high=len(tree) - 1)
    if tuple(tree[node].parent for node in best_path) != (None, *best_path[:-1])[: len(best_path)]:
        raise fields.refuse("best_path", "must lead from the root to a node")
    return SearchResult(
        question=fields.text("question"),
        answer=fields.text("answer"),
        text=fields.text("text"),
        value=_parse_number(fields, "value"),
        confidence=_parse_number(fields, "confidence"),
        rollouts=rollouts,
        tree=tree,
        best_path=best_path,
        stats=_parse_stats(fields.section("stats")) if fields.present("stats") else None,
        instruction=fields.text("instruction", ""),
    )


def _parse_node(fields: Fields, index: int) -> TreeNode:
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
        value=_parse_number(fields, "value") if fields.present("value") else None,
        tokens=fields.integer("tokens", low=0, high=MAX_COUNT),
        kind=fields.text("kind", ""),
        token_ids=token_ids,
        confidences=confidences,
        token_ends=tuple(accumulate(map(len, texts))),
    )


def _parse_rollout(fields: Fields, nodes: int) -> Rollout:
    return Rollout(
        text=fields.text("text"),
        value=_parse_number(fields, "value"),
        answer=fields.text("answer"),
        tokens=fields.integer("tokens", low=0, high=MAX_COUNT),
        finish_reason=fields.choice("finish_reason", get_args(FinishReason)),
        leaf=fields.integer("leaf", low=0, high=nodes - 1),
        spent=fields.integer("spent", 0, low=0, high=MAX_COUNT),
    )


def _parse_stats(fields: Fields) -> SearchStats:
    names = [each.name for each in dataclass_fields(SearchStats) if each.name not in ("wall_s", "tokens_per_s")]
    counts = {name: fields.integer(name, low=0, high=MAX_COUNT) for name in names}
    return SearchStats(
        **counts, wall_s=_parse_number(fields, "wall_s"), tokens_per_s=_parse_number(fields, "tokens_per_s")
    )


def _parse_number(fields: Fields, name: str) -> float:
    """A number field; null is read as NaN, because numbers that are not finite are written as null."""
    return fields.number(name, low=-MAX_NUMBER, high=MAX_NUMBER) if fields.present(name) else nan
