"""Values against their formulas in plain Python floats."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine.errors import InputError
from marcot.engine.search import (
    MCTS,
    BestOfN,
    GroundTruth,
    GroupConfidence,
    Judge,
    MarcoConfidence,
    MeanLogprob,
    Mixture,
    Trace,
    Value,
)
from marcot.engine.search.answers import extract_answer
from marcot.engine.search.values import VALUES, resolve_value
from support.searches.toy_world import ToyWorld, hashed_draw

COLUMNS = 20
TOKENS = st.integers(0, 90)
SEEDS = st.integers(0, 2**32 - 1)


def trace(tokens: int, seed: int, *, text: str = "so 8", complete: bool = True, reference: str | None = None) -> Trace:
    """A chain of random distributions. The drawn token is any of those in the top-k."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(scale=dice.uniform(0.5, 8.0), size=(tokens, 50))
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    top = -np.sort(-logprobs, axis=1)[:, :COLUMNS].astype(np.float32)
    own = top[np.arange(tokens), dice.integers(0, COLUMNS, tokens)]
    confidences = 1 / np.exp(top[:, :5] - own[:, None]).sum(axis=1)
    return Trace(
        "six plus two?", reference, text, complete, confidences.astype(np.float32), own, top, parse=extract_answer
    )


@pytest.mark.parametrize("part", ["group", "lowest", "tail"])
def test_tokens_that_could_not_be_drawn_leave_a_value_from_0_to_1(part: Any) -> None:
    """With `logprobs="processed"`, truncation gives them a log-probability of -inf."""
    chain = trace(80, seed=3)
    processed = np.where(np.arange(COLUMNS) < 2, chain.top_logprobs, np.float32(-np.inf))
    value = GroupConfidence(part)
    assert value.of(replace(chain, top_logprobs=processed)) == 1
    some = np.where(np.arange(80)[:, None] % 3 == 0, processed, chain.top_logprobs)
    assert value.of(chain) <= value.of(replace(chain, top_logprobs=some)) <= 1


def marco(chain: Trace, k: int) -> float:
    """Equations 1 and 2 of arXiv 2411.14405."""
    if not len(chain.logprobs):
        return 0.0
    tokens = [
        math.exp(float(own)) / sum(math.exp(float(each)) for each in top[:k])
        for own, top in zip(chain.logprobs, chain.top_logprobs, strict=True)
    ]
    return math.fsum(tokens) / len(tokens)


def deepconf(chain: Trace, part: str, window: int, k: int) -> float:
    """Section 3 of arXiv 2508.15260, as a fraction of 16."""
    sure = [-sum(float(each) for each in top[:k]) / k for top in chain.top_logprobs]
    if not sure:
        return 0.0
    groups = [sure[first : first + window] for first in range(max(1, len(sure) - window + 1))]
    means = [math.fsum(group) / len(group) for group in groups]
    lowest = sorted(means)[: len(means) // 10 or 1]
    confidence = {"tail": means[-1], "lowest": min(means), "group": math.fsum(lowest) / len(lowest)}[part]
    return min(1.0, max(0.0, confidence / 16))


@pytest.mark.parametrize("k", range(1, COLUMNS + 1))
@given(tokens=TOKENS, seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_marco_confidence(k: int, tokens: int, seed: int) -> None:
    chain = trace(tokens, seed)
    assert resolve_value("marco" if k == 5 else f"marco-k{k}").of(chain) == pytest.approx(marco(chain, k), rel=1e-5)


@pytest.mark.parametrize("part", ["group", "lowest", "tail"])
@given(tokens=TOKENS, seed=SEEDS, window=st.integers(1, 100), k=st.integers(1, COLUMNS))
@settings(max_examples=60, deadline=None)
def test_group_confidence(part: Any, tokens: int, seed: int, window: int, k: int) -> None:
    chain = trace(tokens, seed)
    assert GroupConfidence(part, window, k).of(chain) == pytest.approx(deepconf(chain, part, window, k), rel=1e-9)


@given(tokens=TOKENS, seed=SEEDS)
@settings(deadline=None)
def test_mean_logprob_is_the_geometric_mean_of_probabilities(tokens: int, seed: int) -> None:
    chain = trace(tokens, seed)
    expected = math.prod(math.exp(float(each)) ** (1 / tokens) for each in chain.logprobs) if tokens else 0.0
    assert MeanLogprob().of(chain) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "complete", "reference", "value"),
    [
        ("so 8", True, "8", 1.0),
        ("so \\boxed{8.0}", True, "The answer is 8 apples.", 1.0),
        ("so 9", True, "8", 0.0),
        ("so 8", False, "8", 0.0),
        ("", True, "8", 0.0),
    ],
)
def test_ground_truth(text: str, complete: bool, reference: str, value: float) -> None:
    assert GroundTruth().of(trace(3, 0, text=text, complete=complete, reference=reference)) == value


@pytest.mark.parametrize("value", ["ground-truth", "0.5*marco+0.5*ground-truth"])
def test_a_search_without_a_reference_is_refused_before_it_draws(value: str) -> None:
    world = ToyWorld(hashed_draw())
    with pytest.raises(InputError, match="needs the right answer of every question"):
        world.run(MCTS(rollouts=2, value=value))
    assert len(world.nodes) == 1


@given(
    weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=4),
    names=st.lists(st.sampled_from([name for name in VALUES if name != "ground-truth"]), min_size=4, max_size=4),
    sizes=st.lists(TOKENS, max_size=4),
    seed=SEEDS,
)
@settings(max_examples=40, deadline=None)
def test_a_mixture_is_a_weighted_mean(weights: list[float], names: list[str], sizes: list[int], seed: int) -> None:
    chains = [trace(tokens, seed + index) for index, tokens in enumerate(sizes)]
    parts = tuple((weight, VALUES[name]) for weight, name in zip(weights, names, strict=False))
    expected = [math.fsum(weight * value.of(chain) for weight, value in parts) / math.fsum(weights) for chain in chains]
    assert Mixture(parts).rate(chains) == pytest.approx(expected, rel=1e-9)


@dataclass(frozen=True)
class Slow(Value):
    """A value of which only the time-out matters."""

    timeout: float | None = None  # type: ignore[misc]
    slow = True  # type: ignore[assignment]
    name = "slow"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([Slow(2.0), Slow(3.5)], 5.5),
        ([Slow(2.0), MeanLogprob()], 2.0),
        ([Slow(2.0), Slow()], None),
        ([MeanLogprob()], None),
    ],
)
def test_the_slow_parts_of_a_mixture_run_one_after_the_other(values: list[Value], expected: float | None) -> None:
    assert Mixture(tuple((1.0, value) for value in values)).timeout == expected


def text_length(chain: Trace) -> float:
    return min(1.0, len(chain.text) / 100)


def test_a_user_s_own_function() -> None:
    assert resolve_value(text_length).rate([trace(2, 0, text="x" * 30), trace(2, 0, text="")]) == [0.3, 0.0]


@pytest.mark.parametrize("said", [-0.01, 1.01, math.nan, math.inf, -math.inf])
def test_a_function_that_leaves_the_range_is_named(said: float) -> None:
    with pytest.raises(InputError, match=r"lambda.* rated a chain .*: a value must be a number from 0 to 1"):
        Judge(lambda chain: said).of(trace(2, 0))


class Length:
    """A judge with its own parameter."""

    def __init__(self, most: float) -> None:
        self.most = most

    def __call__(self, chain: Trace) -> float:
        return len(chain.text) / self.most


def test_an_object_that_is_called() -> None:
    assert resolve_value(Length(8)).of(trace(2, 0, text="so 8")) == 0.5
    assert resolve_value(Length(8)).name == f"{__name__}:Length"
    with pytest.raises(InputError, match=r":Length rated a chain 2\.0"):
        resolve_value(Length(2)).of(trace(2, 0, text="so 8"))


def test_a_search_gets_the_same_error() -> None:
    world = ToyWorld(hashed_draw())
    with pytest.raises(InputError, match=r"rated a chain 7\.0"):
        world.run(MCTS(value=lambda chain: 7.0))
    assert all(node.released for node in world.nodes[1:])


def test_a_function_sees_the_chain_as_it_is() -> None:
    seen: list[Trace] = []

    def look(chain: Trace) -> float:
        seen.append(chain)
        return 0.5

    result = ToyWorld(hashed_draw()).run(BestOfN(value=look, rollouts=5, action="token"), reference="8")
    assert [chain.text for chain in seen] == [rollout.text for rollout in result.rollouts]
    assert [chain.answer for chain in seen] == [rollout.answer for rollout in result.rollouts]
    assert [len(chain.confidences) for chain in seen] == [rollout.tokens for rollout in result.rollouts]
    assert {(chain.question, chain.reference) for chain in seen} == {("six plus two?", "8")}


NAMES: dict[str, Callable[[Value], bool]] = {
    "marco": lambda value: value == MarcoConfidence(5),
    "marco-k1": lambda value: value == MarcoConfidence(1),
    "marco-k64": lambda value: value == MarcoConfidence(64),
    "deepconf-tail": lambda value: value == GroupConfidence("tail"),
    "math:exp": lambda value: value == Judge(math.exp),
    "0.7*marco+0.3*logprob": lambda value: value == Mixture(((0.7, MarcoConfidence()), (0.3, MeanLogprob()))),
    " 2 * marco-k3 + .5 * deepconf-lowest ": lambda value: (
        value == Mixture(((2.0, MarcoConfidence(3)), (0.5, GroupConfidence("lowest"))))
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_value_by_its_name(name: str) -> None:
    assert NAMES[name](resolve_value(name))


@given(st.sampled_from(list(VALUES)) | st.integers(1, 64).map(lambda k: f"marco-k{k}"))
def test_names_lead_back_to_themselves(name: str) -> None:
    value = resolve_value(name)
    assert value.name == ("marco" if name == "marco-k5" else name)
    assert resolve_value(value.name) == value
    assert resolve_value(value) is value


@given(
    st.lists(st.tuples(st.integers(1, 999), st.sampled_from([*VALUES, "marco-k7"])), min_size=1, max_size=4),
    st.sampled_from(["", " "]),
)
def test_mixtures_are_read_as_they_are_written(parts: list[tuple[int, str]], space: str) -> None:
    written = f"{space}+{space}".join(f"{weight / 100}{space}*{space}{name}" for weight, name in parts)
    assert resolve_value(written) == Mixture(tuple((weight / 100, resolve_value(name)) for weight, name in parts))


@pytest.mark.parametrize(
    "name",
    ["", "marko", "marco-k0", "marco-k65", "marco-k", "0*marco", "-1*marco", "1*", "*marco", "1*marco+", "nan*marco",
     "1*marco+logprob", "nowhere_to_be_found:f", "math:nothing", "math:pi", ":", ":f", "math:", ".math:f", "a\0b:f"],
)  # fmt: skip
def test_invalid_names_of_values_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="value "):
        resolve_value(name)


@given(st.text(max_size=20) | st.text(":*+.0123 kmarco-", max_size=12))
def test_any_text_is_a_value_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(resolve_value(text), Value)
