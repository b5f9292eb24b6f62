"""Strategies written as `name:parameter=value`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine import InputError, Sampling
from marcot.engine.search import MCTS, STRATEGIES, BestOfN, Greedy
from marcot.engine.search.strategy_spec import parse_parameters, parse_strategies

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "rollouts": st.integers(1, 99),
    "width": st.integers(1, 9),
    "exploration": st.floats(0, 9, allow_nan=False),
    "action": st.sampled_from(["step", "token", "mini-step-32", "mini-step-7"]),
    "answer_rule": st.sampled_from(["majority", "confidence-vote", "most-visits"]),
    "reflection": st.booleans(),
    "max_tokens": st.none() | st.integers(1, 9999),
    "max_seconds": st.none() | st.floats(0.1, 1e6),
    "temperature": st.just(0.0) | st.floats(1e-9, 5),
    "top_k": st.integers(0, 100),
    "top_p": st.floats(0.01, 1),
    "seed": st.integers(-(2**63), 2**63 - 1),
}
SAMPLING = {field.name for field in fields(Sampling)}


@given(st.fixed_dictionaries({}, optional=VALUES), st.sampled_from([str, str.upper, str.title]))
def test_what_is_written_is_what_is_built(values: dict[str, Any], case: Any) -> None:
    parts = [f"{name}={case(str(value)) if value in (None, True, False) else value}" for name, value in values.items()]
    [spec] = parse_strategies("mcts" + ":" * bool(parts) + ",".join(parts))
    drawing = {name: values[name] for name in values if name in SAMPLING and name != "max_tokens"}
    options = {name: value for name, value in values.items() if name not in drawing}
    assert spec.strategy == MCTS(sampling=Sampling(**drawing), **options)


@given(st.lists(st.sampled_from(sorted(STRATEGIES)), min_size=1, unique=True), st.booleans())
def test_a_list_is_taken_apart_at_its_strategies(names: list[str], blanks: bool) -> None:
    joint = " , " if blanks else ","
    specs = parse_strategies(joint.join(f"{name}:rollouts=3,max_depth=5" for name in names))
    assert [spec.strategy.name for spec in specs] == names
    assert all(spec.strategy.max_depth == 5 for spec in specs)
    assert [spec.label for spec in specs] == [f"{name}:rollouts=3,max_depth=5" for name in names]


def test_every_strategy_can_be_named_alone() -> None:
    specs = parse_strategies(",".join(STRATEGIES))
    assert [spec.label for spec in specs] == list(STRATEGIES)
    assert [spec.strategy for spec in specs] == [kind() for kind in STRATEGIES.values()]


def test_greedy_stays_greedy() -> None:
    [spec] = parse_strategies("greedy", {"temperature": "0.9", "rollouts": "8", "max_rollout_tokens": "50"})
    assert spec.strategy == Greedy(max_rollout_tokens=50)
    assert spec.strategy.sampling.greedy


def test_labels_are_no_part_of_the_settings() -> None:
    one, other = parse_strategies("mcts:rollouts=4,label=four,mcts:rollouts=4,label=again")
    assert (one.label, other.label) == ("four", "again")
    assert one.strategy.settings() == other.strategy.settings()


def test_parameters_of_all_give_way_to_those_of_one() -> None:
    shared = parse_parameters("max_tokens=99, width=5,seed=3")
    mcts, best = parse_strategies("mcts:width=2,best-of-n:seed=4", shared)
    assert mcts.strategy == MCTS(width=2, max_tokens=99, sampling=Sampling(seed=3))
    assert best.strategy == BestOfN(max_tokens=99, sampling=Sampling(seed=4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mtcs", "no strategy is called 'mtcs': use mcts, greedy, best-of-n,"),
        ("", "no strategy is called ''"),
        ("rollouts=3", "no strategy is called 'rollouts=3'"),
        ("mcts:rolouts=3", "mcts has no parameter 'rolouts': it has rollouts, action,"),
        ("greedy:width=3", "greedy has no parameter 'width'"),
        ("mcts:rollouts", "mcts: 'rollouts' is not of the form parameter=value"),
        ("mcts:rollouts=eight", "mcts: rollouts='eight': must be an integer or none"),
        ("mcts:width=none", "mcts: width='none': must be an integer"),
        ("mcts:exploration=much", "mcts: exploration='much': must be a number"),
        ("mcts:reflection=perhaps", "mcts: reflection='perhaps': must be true or false"),
        ("mcts:stop_token_ids=1 x", "mcts: stop_token_ids='1 x': must be integers"),
        ("mcts:rollouts=0", "mcts: rollouts=0: must be an integer >= 1"),
        ("mcts:temperature=-1", "mcts: temperature=-1.0: must be a finite number >= 0"),
        ("mcts:answer_rule=loudest", "mcts: answer_rule 'loudest': must be one of"),
        ("mcts:width=2,width=3", "mcts: width is given twice"),
        ("greedy,greedy", "two strategies have the label 'greedy'"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_strategies(text)
    assert str(caught.value).startswith(message)


def test_a_parameter_that_no_strategy_has_is_an_error() -> None:
    with pytest.raises(InputError, match="beams=3: none of the strategies has this parameter"):
        parse_strategies("mcts,greedy", {"beams": "3"})
