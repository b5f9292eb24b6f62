"""Parameters under their earlier names, which work until the next release."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from marcot.engine import MCTS, Strategy
from marcot.engine.errors import InputError, RenamedWarning
from marcot.engine.search.actions import ActionPrompt, CheckedAction, MiniStep, Opening
from marcot.engine.search.strategy_spec import parse_strategies
from marcot.engine.search.user_code import UserCode


def test_strategies_take_them_with_a_warning() -> None:
    with pytest.warns(RenamedWarning, match="lead is now called vote_margin") as told:
        assert MCTS(lead=3, patience=5) == MCTS(vote_margin=3, convergence_window=5)  # type: ignore[call-arg]
    assert {warning.filename for warning in told} == {__file__}
    with pytest.warns(RenamedWarning):
        assert replace(MCTS(), lead=0) == MCTS(vote_margin=0)  # type: ignore[call-arg]
    assert (MCTS().lead, MCTS().patience) == (2, None)


def test_written_strategies_take_them_and_keep_their_labels() -> None:
    with pytest.warns(RenamedWarning, match="patience is now called convergence_window"):
        first, second = parse_strategies("mcts:lead=0,greedy", {"patience": "4"})
    assert (first.label, first.strategy) == ("mcts:lead=0", MCTS(vote_margin=0, convergence_window=4))
    assert second.strategy.convergence_window == 4
    with pytest.warns(RenamedWarning), pytest.raises(InputError, match="vote_margin is given twice"):
        parse_strategies("mcts:lead=0,vote_margin=1")


def test_results_call_them_as_before() -> None:
    settings = MCTS(vote_margin=7, convergence_window=3).settings()
    assert (settings["lead"], settings["patience"]) == (7, 3)
    assert not settings.keys() & {"vote_margin", "convergence_window"}


@pytest.mark.parametrize(("given", "margin"), [({}, 4), ({"lead": 6}, 6)])
def test_a_class_of_a_users_may_have_a_default_by_the_earlier_name(given: dict[str, int], margin: int) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Mine(Strategy):
        name = "mine"
        lead: int = 4

        def grow(self, run: object) -> Iterator[None]:
            yield

    with pytest.warns(RenamedWarning):
        mine = Mine(**given)
    assert (mine.vote_margin, mine.settings()["lead"]) == (margin, margin)


class Earlier(MiniStep):
    """An action class as it was written for early versions of 0.1."""

    guided = True

    def opening(self, kinds: Sequence[str], sample: int) -> Opening:
        return Opening("told", "So", (), 5, True)

    def retreat(self) -> tuple[int, Opening]:
        return 1, self.opening((), 0)


@pytest.mark.parametrize(
    ("ask", "name"),
    [(lambda action: action.prompt((), 0), "opening"), (lambda action: action.backtrack()[1], "retreat")],
)
def test_actions_may_have_methods_by_them(ask: Callable[[CheckedAction], ActionPrompt], name: str) -> None:
    with pytest.warns(RenamedWarning, match=f"Earlier.{name} is now called"):
        assert ask(CheckedAction(Earlier(4), UserCode("How many?"))).text == "So"
