"""Times an engine's work: prefill, decoding below a tree's leaves, a search."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..engine import Engine
from ..expansion import Expansion
from ..sampling.sampling import Sampling
from ..search import MCTS
from .tree_shape import TreeShape

_QUESTION = "A baker makes 12 trays of 8 rolls and sells three quarters of them. How many rolls are left?"

_ROLLOUT_TOKENS = 256
"""Longest chain of a timed search, in tokens: enough for an answer, and short enough to repeat."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The measured times of repeated work.

    Attributes:
        what: `"prefill"`, `"decode"` or `"search"`.
        detail: The size of the work, as readable text.
        tokens: Tokens computed or generated in each repetition.
        seconds: Duration of each repetition.
    """

    what: str
    detail: str
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def rates(self) -> list[float]:
        """Tokens per second of each repetition."""
        return [tokens / seconds for tokens, seconds in zip(self.tokens, self.seconds, strict=True)]

    @property
    def rate(self) -> float:
        """Median of `rates`."""
        return statistics.median(self.rates)


def time_prefill(engine: Engine, tokens: int, repeat: int) -> Timing:
    """Time the prefill of prompts of `tokens` random tokens; none of them is in the cache."""

    def once(number: int) -> tuple[int, float]:
        [prompt] = TreeShape((-1,), (tokens,)).paths(engine.config.vocab_size, number)
        started = time.perf_counter()
        node = engine.prefill(prompt)
        seconds = time.perf_counter() - started
        node.release()
        return tokens, seconds

    return repeated("prefill", f"{tokens} tokens", once, repeat)


def below_prefix(tokens: int, branches: int) -> str:
    """The `Timing.detail` of decoding below one prefix."""
    return f"prefix of {tokens}, {branches} branch{'' if branches == 1 else 'es'}"


def time_decode(engine: Engine, shape: TreeShape, tokens: int, repeat: int, detail: str) -> Timing:
    """Time the decoding of `tokens` tokens on every branch below the leaves of a cached tree.

    A branch draws one token more: the first token after a leaf needs no forward pass.
    """
    leaves = [engine.prefill(path) for path in shape.paths(engine.config.vocab_size, seed=0)]

    def once(number: int) -> tuple[int, float]:
        sampling = Sampling(temperature=1.0, max_tokens=tokens + 1, ignore_eos=True, seed=number)
        started = time.perf_counter()
        families = engine.expand([Expansion(leaf, shape.branches, sampling) for leaf in leaves])
        seconds = time.perf_counter() - started
        for node in (node for family in families for node in family):
            node.release()
        return tokens * shape.rows, seconds

    timing = repeated("decode", detail, once, repeat)
    for leaf in leaves:
        leaf.release()
    return timing


def time_search(engine: Engine, rollouts: int, repeat: int) -> Timing:
    """Time MCTS on one question; each repetition uses another seed and finds its prompt in the cache."""

    def once(number: int) -> tuple[int, float]:
        sampling = Sampling(temperature=0.8, seed=number)
        strategy = MCTS(rollouts=rollouts, vote_margin=0, max_rollout_tokens=_ROLLOUT_TOKENS, sampling=sampling)
        started = time.perf_counter()
        [result] = engine.search(_QUESTION, strategy)
        seconds = time.perf_counter() - started
        assert result.stats is not None, "the engine has filled them in"
        return result.stats.generated_tokens, seconds

    return repeated("search", f"MCTS, {rollouts} rollouts", once, repeat)


def repeated(what: str, detail: str, once: Callable[[int], tuple[int, float]], repeat: int) -> Timing:
    """Run `once` to warm up, then `repeat` times; it gets a new number each time and returns tokens and seconds."""
    once(repeat)
    done = [once(number) for number in range(repeat)]
    return Timing(what, detail, tuple(tokens for tokens, _ in done), tuple(seconds for _, seconds in done))
