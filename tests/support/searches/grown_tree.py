"""Random search results of any size, without a model; tokens are pieces of UTF-8."""

from __future__ import annotations

import codecs
import random
from collections.abc import Sequence
from dataclasses import replace

from marcot.engine.search import Rollout, SearchResult, SearchStats, TreeNode, with_token_ends

LATIN = ("We", " add", " six", " and", " two", ".", "\n\n", " is", " not", " <b>", " \\boxed{8}")
WORDS = (*LATIN, " 答案", "是", " é", " שלום", " 🌳")
BYTES = 1000
"""Token ids from here on are single bytes."""


def decode(token_ids: Sequence[int]) -> str:
    """The text of tokens, with U+FFFD in place of invalid UTF-8."""
    return b"".join(map(_bytes, token_ids)).decode(errors="replace")


def grown_tree(
    seed: int, rollouts: int, *, steps: int = 4, tokens: int = 6, split: float = 0.3, words: Sequence[str] = WORDS
) -> SearchResult:
    """A random result: each rollout forks from some node and adds a chain of nodes.

    Args:
        seed: The same seed gives the same result.
        rollouts: Number of rollouts.
        steps: Most nodes of a rollout.
        tokens: Most tokens of a node.
        split: Probability that a word is made of single bytes, which the end of a node may separate.
        words: The words of texts.
    """
    chance = random.Random(seed)
    nodes = [TreeNode(0, None, "", 0, None, 0)]
    decoders = {0: codecs.getincrementaldecoder("utf-8")("replace").getstate()}
    open_nodes = [0]
    counted: list[Rollout] = []
    for number in range(rollouts):
        at = chance.choice(open_nodes[: 1 + len(open_nodes) // 2])
        for step in range(chance.randint(1, steps)):
            ids = _tokens(chance, chance.randint(1, tokens), split, words)
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            decoder.setstate(decoders[at])
            text = "".join(decoder.decode(_bytes(id)) for id in ids)
            given = chance.random() < 0.05
            confidences = tuple(None if given else chance.uniform(0.2, 1.0) for _ in ids)
            kind = "reflection" if given else "step"
            node = TreeNode(len(nodes), at, text, 0, None, len(ids), kind, ids, confidences)
            decoders[node.id] = decoder.getstate()
            if step:
                open_nodes.append(at)
            nodes.append(node)
            at = node.id
        last = nodes[at]
        rest = codecs.getincrementaldecoder("utf-8")("replace")
        rest.setstate(decoders[at])
        nodes[at] = replace(last, text=last.text + rest.decode(b"", final=True))
        text = "".join(nodes[id].text for id in chain(nodes, at))
        answer = chance.choice(["8", "8", "9", "no 答案", ""])
        used = sum(nodes[id].tokens for id in chain(nodes, at))
        reason = chance.choice(["eos", "eos", "length"])
        counted.append(Rollout(text, chance.uniform(0.5, 1.0), answer, used, reason, at, 30 * (number + 1)))
    visits, values = replayed(nodes, counted, rollouts)
    tree = with_token_ends((replace(node, visits=visits[node.id], value=values[node.id]) for node in nodes), decode)
    best = max(counted, key=lambda rollout: rollout.value)
    stats = SearchStats(30 * rollouts, 20, 40, 0, 0, 0, 1.5, 20.0 * rollouts, 12)
    path = tuple(chain(nodes, best.leaf))
    return SearchResult(
        "How much is six\nand two?", best.answer, best.text, best.value, 0.5, tuple(counted), tree, path, stats
    )


def chain(tree: Sequence[TreeNode], leaf: int) -> list[int]:
    """Ids from the root to `leaf`."""
    ids: list[int] = []
    at: int | None = leaf
    while at is not None:
        ids.insert(0, at)
        at = tree[at].parent
    return ids


def replayed(tree: Sequence[TreeNode], rollouts: Sequence[Rollout], count: int) -> tuple[list[int], list[float | None]]:
    """Visits and mean values of all nodes after the first `count` rollouts, computed from the definition."""
    through: list[list[float]] = [[] for _ in tree]
    for rollout in rollouts[:count]:
        for id in chain(tree, rollout.leaf):
            through[id].append(rollout.value)
    return [len(values) for values in through], [sum(values) / len(values) if values else None for values in through]


def _tokens(chance: random.Random, count: int, split: float, words: Sequence[str]) -> tuple[int, ...]:
    ids: list[int] = []
    while len(ids) < count:
        word = chance.choice(words)
        ids += [BYTES + byte for byte in word.encode()] if chance.random() < split else [_number(word)]
    return tuple(ids[:count])


_known: list[str] = []


def _number(word: str) -> int:
    if word not in _known:
        _known.append(word)
    return _known.index(word)


def _bytes(id: int) -> bytes:
    return bytes([id - BYTES]) if id >= BYTES else _known[id].encode()
