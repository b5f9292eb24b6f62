"""How single options and `--strategy` combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from marcot.engine import DVTS, MCTS, Beam, BestOfN, Greedy, InputError, Sampling
from marcot.engine.cli.strategy import chosen_strategy


def test_what_is_given_besides_goes_into_the_strategy() -> None:
    sampling = Sampling(temperature=0.5, seed=3)
    assert chosen_strategy("mcts", {"rollouts": 4, "width": None}, sampling) == MCTS(rollouts=4, sampling=sampling)
    assert chosen_strategy("beam:beams=8", {"max_depth": 5}, Sampling()) == Beam(beams=8, max_depth=5)


def test_what_the_strategy_says_of_sampling_wins() -> None:
    chosen = chosen_strategy("dvts:temperature=1.5,subtrees=2", {}, Sampling(seed=7))
    assert chosen == DVTS(subtrees=2, sampling=Sampling(temperature=1.5, seed=7))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Guesses(BestOfN):
    """A user's own strategy, with parameters whose names end like those of others."""

    name: ClassVar[str] = "guesses"
    my_seed: int = 0
    my_rollouts: int = 0


def test_a_parameter_of_a_similar_name_does_not_count() -> None:
    chosen = chosen_strategy(f"{__name__}:Guesses:my_seed=3,my_rollouts=2", {"max_tokens": 100}, Sampling(seed=7))
    assert chosen == Guesses(my_seed=3, my_rollouts=2, max_tokens=100, rollouts=None, sampling=Sampling(seed=7))


def test_tokens_alone_end_a_search_that_is_given_no_number_of_chains() -> None:
    assert chosen_strategy("mcts", {"max_tokens": 100}, Sampling()).rollouts is None
    assert chosen_strategy("mcts", {"max_tokens": 100, "rollouts": 3}, Sampling()).rollouts == 3
    assert chosen_strategy("mcts:rollouts=5", {"max_seconds": 1.0}, Sampling()).rollouts == 5
    assert chosen_strategy("greedy", {"max_tokens": 100}, Sampling()) == Greedy(max_tokens=100)


@pytest.mark.parametrize(
    ("spec", "given", "message"),
    [
        ("greedy", {"width": 3}, "the strategy greedy has no --width"),
        ("mcts,beam", {}, "give exactly one; marcot eval compares several"),
        ("bream", {}, "bream"),
        ("mcts:width=0", {}, "width=0"),
    ],
)
def test_invalid_values_are_refused(spec: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        chosen_strategy(spec, given, Sampling())
