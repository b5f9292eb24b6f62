"""A search tree as a Graphviz graph."""

from __future__ import annotations

import math
from collections import defaultdict
from textwrap import shorten, wrap
from typing import TYPE_CHECKING

from .scale import colour

if TYPE_CHECKING:
    from ..search import SearchResult

_MARK = "// Made by marcot search."
_LAYOUT = "  graph [rankdir=LR, nodesep=0.12, ranksep=0.45];"
"""Second line of older files, which lack the mark; identifies them."""

LABEL_LINES = 4
"""Maximum number of lines of text that a node shows."""

LABEL_COLUMNS = 36
"""Maximum number of characters in such a line."""


def to_dot(result: SearchResult) -> str:
    """Return the tree in the DOT language; each node shows its visits, value, answers and the start of its text.

    The colour shows the value, from 0 (violet) to 1 (yellow); the path of the chosen rollout is bold.
    `dot -Tsvg out.dot -o out.svg` renders the graph.
    """
    best = set(result.best_path)
    answers: dict[int, list[str]] = defaultdict(list)
    for rollout in result.rollouts:
        if rollout.answer not in answers[rollout.leaf]:
            answers[rollout.leaf].append(rollout.answer)
    lines = [
        "digraph search {",
        f"  {_MARK}",
        _LAYOUT,
        '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=10, fillcolor="#dddddd"];',
        '  edge [arrowhead=none, color="#888888"];',
    ]
    for node in result.tree:
        value = "-" if node.value is None else f"{node.value:.3f}"
        head = f"{node.visits} x {value}" + (f"  {node.kind}" if node.kind else "")
        found = [f"[{answer}]" for answer in answers.get(node.id, ())]
        text = result.question if node.parent is None and not node.text.strip() else node.text
        attributes = [f"label={_quoted(chr(10).join([head, *found, _excerpt(text)]))}"]
        if node.value is not None and math.isfinite(node.value):
            fill, ink = colour(node.value)
            attributes.append(f'fillcolor="{fill}", fontcolor="{ink}"')
        if node.id in best:
            attributes.append("penwidth=3")
        lines.append(f"  {node.id} [{', '.join(attributes)}];")
        if node.parent is not None:
            bold = ' [penwidth=3, color="#000000"]' if node.id in best and node.parent in best else ""
            lines.append(f"  {node.parent} -> {node.id}{bold};")
    return "\n".join([*lines, "}", ""])


def is_dot(head: bytes) -> bool:
    """Whether a file that begins with `head` was written by `to_dot`."""
    first, _, second = head.decode(errors="replace").partition("\n")
    return first == "digraph search {" and second.startswith((f"  {_MARK}", _LAYOUT))


def _excerpt(text: str) -> str:
    words = shorten(text, LABEL_LINES * LABEL_COLUMNS, placeholder=" ...")
    if words == "..." or len(words) < len(text.split(maxsplit=1)[0] if text.strip() else ""):
        words = text.strip()[: LABEL_LINES * LABEL_COLUMNS] + " ..."
    return "\n".join(wrap(words, LABEL_COLUMNS))


def _quoted(text: str) -> str:
    r"""`text` as a quoted DOT string, escaping what Graphviz interprets: quotes, backslashes (`\N`) and entities."""
    visible = "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    escaped = visible.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return '"' + escaped.replace("\n", "\\n") + '"'
