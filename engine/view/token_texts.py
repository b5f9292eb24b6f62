"""Which part of a node's text each of its tokens is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..search import TreeNode

Decode = Callable[[Sequence[int]], str]
"""Token ids to text, with U+FFFD for bytes that are not UTF-8, as `Tokenizer.decode` does it."""

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class _State:
    """Where decoding stands at the end of a node.

    Attributes:
        context: The last token whose text is certain; some decoders treat the first token they see differently.
        pending: Tokens after it that end inside a character.
        decoded: Characters from the root on that are certain.
        shown: Characters that the nodes down to here have in their texts.
    """

    context: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    decoded: int = 0
    shown: int = 0


def token_texts(tree: Sequence[TreeNode], decode: Decode) -> list[tuple[str, ...]]:
    """Return the text of each token of each node; those of a node add up to the node's text.

    A character of several tokens belongs to the last of them, and so the others have no text; nor do special tokens.
    A node without `token_ids` has no token texts.

    Args:
        tree: All nodes, parents before children.
        decode: The decoder of the model that made the tokens.
    """
    states: dict[int, _State] = {}
    texts: list[tuple[str, ...]] = []
    for node in tree:
        state = _State() if node.parent is None else states[node.parent]
        ends, states[node.id] = _decoded(node, state, decode)
        bounds = [0, *(min(max(end - state.shown, 0), len(node.text)) for end in ends)]
        if ends:
            bounds[-1] = len(node.text)
        texts.append(tuple(node.text[start:end] for start, end in pairwise(bounds)))
    return texts


def _decoded(node: TreeNode, state: _State, decode: Decode) -> tuple[list[int], _State]:
    """Characters from the root on that are certain after each token of `node`, and the state after the last."""
    context, pending, decoded = state.context, state.pending, state.decoded
    ends: list[int] = []
    for token in node.token_ids:
        pending += (token,)
        text = decode(context + pending)[len(decode(context)) :]
        # A last U+FFFD may be the beginning of a character that the next tokens complete.
        if not text.endswith(_UNFINISHED):
            decoded += len(text)
            context, pending = pending[-1:], ()
        ends.append(decoded + len(text.rstrip(_UNFINISHED)) if pending else decoded)
    return ends, _State(context, pending, decoded, state.shown + len(node.text))
