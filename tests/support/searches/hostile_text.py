"""Text that could be mistaken for markup or control sequences, and search results made of it."""

from __future__ import annotations

from dataclasses import replace

from marcot.engine import SearchResult
from marcot.engine.search import with_token_ends
from support.searches.grown_tree import decode, grown_tree

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!-- <script>",
    "]]> &lt; &amp; \" ' ` ${x} \\u003c \\",
    "{{DATA}} {{SCRIPT}} {{POLICY}}",
    "\u2028\u2029\0\x1b\x7f\ufeff\ufffe",
    "half \ud83c of a tree \udf33",
    "\u202eright to left\u202c שלום 🌳",
)


def everywhere(text: str) -> SearchResult:
    """A result that has `text` wherever a model's or a user's text can occur."""
    result = grown_tree(1, 3)
    tree = with_token_ends((replace(node, text=text + node.text, kind=text) for node in result.tree), decode)
    rollouts = tuple(replace(rollout, text=text, answer=text) for rollout in result.rollouts)
    return replace(result, question=text, answer=text, text=text, tree=tree, rollouts=rollouts)
