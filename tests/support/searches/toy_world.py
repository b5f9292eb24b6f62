"""A language model small enough to enumerate, with those parts of a node that a search uses."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from marcot.engine.expansion import Expansion
from marcot.engine.sampling.sampling import Sampling
from marcot.engine.search.protocol import Call, Searcher, Task, Wave
from marcot.engine.search.result import SearchResult

EOS = 0
WORDS = ("", " six", " plus", " two", " is", " eight", ".", "\n\n", "\nStep 2:", " 8", " 9")
"""The text of each token; that of the end-of-sequence token is empty. Other text becomes bytes: ids from 100."""

Draw = Callable[[Sequence[int], int, int], tuple[int, float]]
"""`(tokens of the forked state, index of the sample, position on the branch) -> (token, its confidence)`."""

GREEDY = -1
"""The sample index that stands for the most probable tokens."""


def decode(token_ids: Sequence[int]) -> str:
    return b"".join(WORDS[id].encode() if id < 100 else bytes([id - 100]) for id in token_ids).decode(errors="replace")


def hashed_draw(
    *, eos_odds: float = 0.05, seed: int = 0, words: Sequence[int] = range(1, len(WORDS)), levels: int = 256
) -> Draw:
    """Draw one of `words`, always the same for the same arguments. A branch ends with probability `eos_odds` at each
    position.

    Confidences have this many `levels`; few levels give ties.
    """

    def draw(path: Sequence[int], sample: int, position: int) -> tuple[int, float]:
        digest = hashlib.blake2b(repr((tuple(path), sample, position, seed)).encode(), digest_size=8).digest()
        ends = int.from_bytes(digest[:3], "big") / 2**24 < eos_odds
        return (EOS if ends else words[digest[3] % len(words)]), 0.2 + 0.8 * (digest[4] % levels) / (levels - 1)

    return draw


def scripted_draw(*scripts: Sequence[int]) -> Draw:
    """The n-th requested branch draws the n-th script, with confidence 0.5; after the last script, the first again."""
    order: dict[tuple[tuple[int, ...], int], Sequence[int]] = {}
    supply = itertools.cycle(scripts)

    def draw(path: Sequence[int], sample: int, position: int) -> tuple[int, float]:
        key = (tuple(path), sample)
        if key not in order:
            order[key] = next(supply)
        return order[key][position], 0.5

    return draw


@dataclass
class ToyNode:
    world: ToyWorld
    path_ids: list[int]
    token_ids: np.ndarray
    confidences: np.ndarray
    finish_reason: str | None
    released: bool = False

    def __post_init__(self) -> None:
        self.world.nodes.append(self)

    @property
    def logprobs(self) -> np.ndarray:
        return np.log(self.confidences)

    @property
    def top_logprobs(self) -> np.ndarray:
        """Five columns whose probabilities add up to 1, so that the confidence is the token's probability."""
        others = np.log((1 - self.confidences) / 4 + 1e-30)
        return np.stack([self.logprobs, *[others] * 4], axis=1).astype(np.float32)

    def has_ended(self, seen: int) -> bool:
        """Whether it has ended within `seen` tokens."""
        return len(self.token_ids) <= seen or self.finish_reason == "cancelled"

    @property
    def length(self) -> int:
        return len(self.path_ids)

    def append(self, text: str) -> ToyNode:
        ids = [100 + byte for byte in text.encode()]
        return ToyNode(self.world, [*self.path_ids, *ids], np.asarray(ids), np.empty(0), None)

    def prefix(self, tokens: int) -> ToyNode:
        own = len(self.token_ids)
        assert 1 <= tokens <= own
        path = self.path_ids[: len(self.path_ids) - own + tokens]
        return ToyNode(self.world, path, self.token_ids[:tokens], self.confidences[:tokens], None)

    def __enter__(self) -> ToyNode:
        return self

    def __exit__(self, *error: object) -> None:
        self.released = True


@dataclass
class ToyWorld:
    """Runs a search. Afterwards it has the `waves` that were requested, the `generated` tokens, and all `nodes` ever
    made.

    Branches are drawn to their ends at once. With a `Wave.window`, an end is reported when it is due; `in_flight` is
    the number of branches that had not ended, for each wave.
    """

    draw: Draw
    context: int = 1000
    cancel_at: int | None = None
    nodes: list[ToyNode] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    generated: int = 0
    asked: set[tuple[tuple[int, ...], int]] = field(default_factory=set)

    def task(self, question: str = "six plus two?", reference: str | None = None) -> Task:
        ids = [100 + byte for byte in question.encode()]
        prompt = ToyNode(self, ids, np.asarray(ids), np.empty(0), None)
        return Task(0, question, prompt, self.context, decode, reference)

    def run(self, strategy: Searcher, reference: str | None = None) -> SearchResult:
        search = strategy.search(self.task(reference=reference))
        in_flight: list[tuple[list[ToyNode], int]] = []
        answers: list[Any] | None = None
        while True:
            try:
                asked = search.send(answers) if answers is not None else next(search)
            except StopIteration as stop:
                return stop.value
            if isinstance(asked, Call):
                answers = list(asked.function(asked.items))
                continue
            self.waves.append(asked)
            in_flight += [(self.expand(expansion), 0) for expansion in asked.expansions]
            self.in_flight.append(len(in_flight))
            in_flight = [(nodes, seen + (asked.window or self.context)) for nodes, seen in in_flight]
            answers = [nodes if all(node.has_ended(seen) for node in nodes) else None for nodes, seen in in_flight]
            in_flight = [each for each, answer in zip(in_flight, answers, strict=True) if answer is None]

    def expand(self, expansion: Expansion) -> list[ToyNode]:
        assert not expansion.node.released
        return [
            self._sample(expansion.node, expansion.sampling, expansion.first + index) for index in range(expansion.n)
        ]

    def _sample(self, node: ToyNode, sampling: Sampling, sample: int) -> ToyNode:
        key = (tuple(node.path_ids), sample)
        assert key not in self.asked, "the same sample of the same state was asked for twice"
        self.asked.add(key)
        tokens: list[int] = []
        confidences: list[float] = []
        reason = "length"
        assert node.length < self.context
        drawn_as = GREEDY if sampling.greedy else sample
        while len(tokens) < min(sampling.max_tokens, self.context - node.length):
            if self.cancel_at is not None and self.generated >= self.cancel_at:
                reason = "cancelled"
                break
            token, confidence = self.draw(node.path_ids, drawn_as, len(tokens))
            tokens.append(token)
            confidences.append(confidence)
            self.generated += 1
            if token == EOS:
                reason = "eos"
                break
            if token in sampling.stop_token_ids or (sampling.stop and any(s in decode(tokens) for s in sampling.stop)):
                reason = "stop"
                break
        ids = np.asarray(tokens, np.int64)
        return ToyNode(self, [*node.path_ids, *tokens], ids, np.asarray(confidences, np.float32), reason)
