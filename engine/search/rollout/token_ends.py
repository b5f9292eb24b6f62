"""Finds which part of a node's text belongs to each of its tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..actions import Decode
from ..actions.action import UNFINISHED, joined_ends
from ..result import TreeNode


class _State(NamedTuple):
    """The state of decoding at the end of a node.

    Attributes:
        context: The last token whose text is final; needed because some decoders treat the first token differently.
        known: Text of `context` alone.
        pending: Tokens after `context` that end inside a character.
        decoded: Number of characters from the root on whose text is final.
        shown: Number of characters in the texts of all nodes from the root to this one.
    """

    context: tuple[int, ...] = ()
    known: str = ""
    pending: tuple[int, ...] = ()
    decoded: int = 0
    shown: int = 0


def with_token_ends(tree: Iterable[TreeNode], decode: Decode) -> tuple[TreeNode, ...]:
    """Return the nodes with their `token_ends`, so that a result can be shown without the model's tokenizer.

    A character that spans several tokens belongs to the last of them, so the others have no text. Special tokens have
    no text either.

    Args:
        tree: All nodes, parents before children.
        decode: Converts token ids to text, with U+FFFD for bytes that are not UTF-8, like `Tokenizer.decode`.
    """
    states: dict[int | None, _State] = {}
    nodes = []
    for node in tree:
        state = states.get(node.parent, _State())
        ends, states[node.id] = _joined(node, state, decode) or _decoded(node, state, decode)
        if ends:
            length = len(node.text)
            if ends[0] < 0 or ends[-1] > length:
                ends = [min(max(end, 0), length) for end in ends]
            ends[-1] = length
            node = _with_ends(node, tuple(ends))  # noqa: PLW2901
        nodes.append(node)
    return tuple(nodes)


def _with_ends(node: TreeNode, ends: tuple[int, ...]) -> TreeNode:
    """What `dataclasses.replace` does, in half the time."""
    return TreeNode(
        node.id, node.parent, node.text, node.visits, node.value, node.tokens, node.kind, node.token_ids,
        node.confidences, ends,
    )  # fmt: skip


def _joined(node: TreeNode, state: _State, decode: Decode) -> tuple[list[int], _State] | None:
    """The result of `_decoded` if the texts of the tokens add up to the node's text, as they usually do; else None."""
    if not node.token_ids or state.pending:
        return None
    ahead = state.decoded - state.shown
    text = node.text
    if ahead:
        text = decode(state.context + node.token_ids)
        if not text.startswith(state.known):
            return None
        text = text[len(state.known) :]
    characters = joined_ends(node.token_ids, text, decode)
    if characters is None:
        return None
    last = node.token_ids[-1:]
    after = _State(last, decode(last), (), state.decoded + len(text), state.shown + len(node.text))
    return [end + ahead for end in characters] if ahead else characters, after


def _decoded(node: TreeNode, state: _State, decode: Decode) -> tuple[list[int], _State]:
    """How many characters of the node's text are final after each of its tokens, and the state after the last token.

    A number is negative while characters in the text of earlier nodes are not final yet.
    """
    context, known, pending, decoded = state.context, state.known, state.pending, state.decoded
    ends: list[int] = []
    for token in node.token_ids:
        pending += (token,)
        text = decode(context + pending)[len(known) :]
        # A final U+FFFD may be the beginning of a character that the next tokens complete.
        if not text.endswith(UNFINISHED):
            decoded += len(text)
            context, pending = pending[-1:], ()
            known = decode(context)
        certain = decoded + len(text.rstrip(UNFINISHED)) if pending else decoded
        ends.append(certain - state.shown)
    return ends, _State(context, known, pending, decoded, state.shown + len(node.text))
