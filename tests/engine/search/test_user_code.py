"""User code that raises errors or returns nonsense: the error names the code and the question, and keeps the cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine.errors import CallableError, InputError
from marcot.engine.sampling.sampling import Sampling
from marcot.engine.search import MCTS, Action, Beam, BestOfN, Strategy, Trace, Value
from marcot.engine.search.actions import ActionPrompt
from marcot.engine.search.answers import Vote
from support.searches.toy_world import ToyWorld, hashed_draw


class OurError(RuntimeError):
    """The error that the code of these tests raises."""


def fails(*_: object, **__: object) -> Any:
    raise OurError("no good")


class Cuts(Action):
    """An action whose method called `method` is replaced by `what`."""

    name = "cuts"

    def __init__(self, method: str = "", what: Callable[..., Any] = fails) -> None:
        self._method, self._what = method, what

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name == self._method:
            return self._what if callable(getattr(Action, name, None)) else self._what()
        return super().__getattribute__(name)

    def cut(self, token_ids: Sequence[int], decode: object, confidences: object) -> list[int]:
        return [len(token_ids)] if token_ids else []


class Rates(Value):
    name = "rates"

    def __init__(self, rate: Callable[[Sequence[Trace]], Any]) -> None:
        self._rate = rate

    def rate(self, traces: Sequence[Trace]) -> Any:
        return self._rate(traces)


@dataclass(frozen=True, kw_only=True)
class Grows(Strategy):
    name = "grows"
    way: Any = None

    def grow(self, run: Any) -> Any:
        return self.way(run)


def lazy(run: Any) -> Any:
    """A generator that yields nothing."""
    return
    yield


def idle(run: Any) -> Any:
    while not run.finished:
        yield from run.roll_out([])


def growing_wildly(run: Any) -> Any:
    yield from run.roll_out([run.tree.root])
    raise OurError("no good")


def on_nothing(run: Any) -> Any:
    yield from run.extend([None])


RAISING: dict[str, tuple[Strategy, str]] = {
    "value": (BestOfN(value=fails), f"value '{__name__}:fails' raised OurError: no good"),
    "value-of-many": (BestOfN(value=Rates(fails)), "value 'rates' raised OurError: no good"),
    "value-of-states": (Beam(value=fails), f"value '{__name__}:fails' raised OurError: no good"),
    "answer-rule": (BestOfN(answer_rule=fails), f"answer rule '{__name__}:fails' raised OurError: no good"),
    "answer-rule-with-window": (
        MCTS(answer_rule=fails, convergence_window=1),
        f"answer rule '{__name__}:fails' raised OurError",
    ),
    "weight": (BestOfN(answer_rule=Vote(fails)), f"answer rule '{Vote.__module__}:Vote' raised OurError: no good"),
    "parser": (BestOfN(answer_from=fails), f"answer_from '{__name__}:fails' raised OurError: no good"),
    "parser-in-a-value": (BestOfN(answer_from=fails, value=lambda chain: len(chain.answer)), "answer_from '"),
    "strategy": (Grows(way=growing_wildly), "strategy 'grows' raised OurError: no good"),
    "strategy-that-is-no-generator": (Grows(way=fails), "strategy 'grows' raised OurError: no good"),
    **{
        f"action-{method}": (BestOfN(action=Cuts(method)), f"action Cuts.{method} raised OurError: no good")
        for method in ("name", "cut", "guided", "backtrack")
    },
    **{
        f"action-{method}": (Beam(action=Cuts(method)), f"action Cuts.{method} raised OurError: no good")
        for method in ("stops", "max_tokens")
    },
    "action-width": (MCTS(action=Cuts("width")), "action Cuts.width raised OurError: no good"),
}


@pytest.mark.parametrize("case", RAISING)
def test_an_error_is_named_and_kept(case: str) -> None:
    options, message = RAISING[case]
    world = ToyWorld(hashed_draw())
    with pytest.raises(CallableError) as caught:
        world.run(options)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(" (question: six plus two?)")
    assert isinstance(caught.value.__cause__, OurError)
    assert all(node.released for node in world.nodes[1:])


def prompt(**fields: Any) -> Callable[..., ActionPrompt]:
    return lambda *_: ActionPrompt("k", "text", (), 5, True)._replace(**fields)


class Guided(Cuts):
    guided = True


NONSENSE: dict[str, tuple[Strategy, str]] = {
    **{
        f"value-{value!r:.20}": (BestOfN(value=lambda chain, value=value: value), f"rated a chain {value!r}: a value")
        for value in (None, "0.5", b"1", "good", math.nan, math.inf, 1.01, -0.01, [0.5], 1j, np.ones(2))
    },
    "too-few-values": (BestOfN(value=Rates(lambda traces: [0.5])), "value 'rates': rated 4 chains by 1 values"),
    "no-values": (BestOfN(value=Rates(lambda traces: None)), "value 'rates' raised TypeError"),
    "values-out-of-range": (BestOfN(value=Rates(lambda traces: [2] * len(traces))), "rates rated a chain 2: a value"),
    "a-function-of-nothing": (BestOfN(value=lambda: 1.0), "raised TypeError"),
    "rule-text": (BestOfN(answer_rule=lambda rollouts, tree: "72"), "chose '72': must be one of the rollouts"),
    "rule-none": (BestOfN(answer_rule=lambda rollouts, tree: None), "chose None: must be one of the rollouts"),
    "rule-stranger": (
        BestOfN(answer_rule=lambda rollouts, tree: replace(rollouts[0], answer="72")),
        "must be one of the rollouts",
    ),
    "parser-none": (BestOfN(answer_from=lambda text: None), "found None: an answer must be a string, empty if"),
    "parser-number": (BestOfN(answer_from=lambda text: 72), "found 72: an answer must be a string"),
    **{
        f"cut-{ends}": (BestOfN(action=Cuts("cut", lambda *_, ends=ends: ends)), "action Cuts.cut")
        for ends in ([3, 1, 2], [1], [], [10**6], [-1], ["end"], [1.5], None, 7)
    },
    "stops-number": (Beam(action=Cuts("stops", lambda: 3)), "action Cuts.stops: stops=3: must be"),
    "max-tokens-0": (
        Beam(action=Cuts("max_tokens", lambda: 0)),
        "action Cuts.max_tokens: max_tokens=0: must be None or",
    ),
    "width-text": (MCTS(action=Cuts("width", lambda kinds: "many")), "action Cuts.width: width='many': must be None"),
    "guided-1": (BestOfN(action=Cuts("guided", lambda: 1)), "action Cuts.guided: guided=1: must be True or False"),
    "backtrack-1": (BestOfN(action=Cuts("backtrack", lambda: 1)), "action Cuts.backtrack raised TypeError"),
    "prompt-text": (
        BestOfN(action=Guided("prompt", lambda *_: "Let me")),
        "action Guided.prompt: 'Let me' must be an",
    ),
    "prompt-close": (BestOfN(action=Guided("prompt", prompt(close=3))), "action Guided.prompt: close=3: must be"),
    "prompt-length": (BestOfN(action=Guided("prompt", prompt(max_tokens=0))), "max_tokens=0: must be an integer"),
    "grow-returns-none": (Grows(way=lambda run: None), "strategy 'grows': grow returned None: must be a generator"),
    "grow-returns-a-list": (Grows(way=lambda run: []), "strategy 'grows': grow returned []: must be a generator"),
    "grow-yields-nothing": (
        Grows(way=lazy),
        "strategy 'grows' has generated nothing: its grow must yield from run.roll",
    ),
    "grow-asks-for-nothing": (Grows(way=idle), "strategy 'grows' has generated nothing"),
    "grow-on-nothing": (Grows(way=on_nothing), "strategy 'grows' raised AttributeError"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_named(case: str) -> None:
    options, message = NONSENSE[case]
    world = ToyWorld(hashed_draw())
    with pytest.raises(CallableError) as caught:
        world.run(options)
    assert message in str(caught.value)
    assert str(caught.value).endswith(" (question: six plus two?)")
    assert all(node.released for node in world.nodes[1:])


@pytest.mark.parametrize("value", [True, 1, np.float32(0.5), np.int64(1), torch.tensor(0.5), 1 + 1e-9, -1e-12])
def test_numbers_of_any_kind_are_values(value: Any) -> None:
    """They come out as floats, within their range."""
    result = ToyWorld(hashed_draw()).run(BestOfN(value=lambda chain: value))
    assert {type(rollout.value) for rollout in result.rollouts} == {float}
    assert all(0 <= rollout.value <= 1 for rollout in result.rollouts)
    assert {type(node.value) for node in result.tree if node.visits} == {float}


def test_a_stop_that_is_one_text_is_one_stop() -> None:
    whole = ToyWorld(hashed_draw()).run(Beam(action=Cuts("stops", lambda: ("\n\n",)), rollouts=5))
    assert ToyWorld(hashed_draw()).run(Beam(action=Cuts("stops", lambda: "\n\n"), rollouts=5)) == whole


@pytest.mark.parametrize("stopper", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_an_error_of_the_code(stopper: type[BaseException]) -> None:
    def stops(chain: Trace) -> float:
        raise stopper

    world = ToyWorld(hashed_draw())
    with pytest.raises(stopper):
        world.run(BestOfN(value=stops))
    assert all(node.released for node in world.nodes[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": 3}, "value=3: must be a name, a Value, or a function of a Trace"),
        ({"value": ["marco"]}, r"value=\['marco'\]: must be a name"),
        ({"value": None}, "value=None: must be"),
        ({"value": Rates}, r"value=Rates: this is a class, not an instance; write Rates\(\)"),
        ({"action": 32}, "action=32: must be a name or an Action"),
        ({"action": Cuts}, r"action=Cuts: this is a class, not an instance; write Cuts\(\)"),
        ({"answer_rule": 3}, "answer_rule=3: must be a name, or a function of the rollouts and the tree"),
        ({"answer_rule": Vote}, "answer_rule=.*Vote.*: must be a name, or a function"),
        ({"answer_from": None}, "answer_from=None: must be auto, text, a regular expression, or a function of a text"),
        ({"rollouts": 8.0}, "rollouts=8.0: must be an integer >= 1 or None"),
        ({"rollouts": True}, "rollouts=True: must be an integer >= 1 or None"),
        ({"rollouts": "8"}, "rollouts='8': must be an integer >= 1 or None"),
        ({"max_tokens": 0}, "max_tokens=0: must be an integer >= 1 or None"),
        ({"max_depth": None}, "max_depth=None: must be an integer >= 1"),
        ({"parallel": 2.5}, "parallel=2.5: must be an integer >= 1"),
        ({"vote_margin": None}, "vote_margin=None: must be an integer >= 0"),
        ({"width": 3.0}, "width=3.0: must be an integer >= 1"),
        ({"exploration": "hot"}, "exploration='hot': must be a finite number >= 0"),
        ({"exploration": True}, "exploration=True: must be a finite number >= 0"),
        ({"prune": "0.5"}, "prune='0.5': must be a share from 0 to below 1"),
        ({"prune": None}, "prune=None: must be a share"),
        ({"max_seconds": "5"}, "max_seconds='5': must be a finite number > 0"),
        ({"reflection": "no"}, "reflection='no': must be True or False"),
        ({"stop_decided": 1}, "stop_decided=1: must be True or False"),
        ({"greedy_first": 0}, "greedy_first=0: must be True or False"),
        ({"sampling": {"temperature": 1.0}}, "sampling={'temperature': 1.0}: must be a Sampling"),
        ({"sampling": None}, "sampling=None: must be a Sampling"),
        ({"sampling": Sampling}, r"sampling=Sampling: this is a class, not an instance; write Sampling\(\)"),
    ],
    ids=str,
)
def test_options_of_a_wrong_type_are_refused_when_they_are_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MCTS(**options)


def test_numbers_of_numpy_are_taken_as_python_s() -> None:
    given = MCTS(
        rollouts=np.int64(4), width=np.int32(2), exploration=np.float32(0.5), max_seconds=5, reflection=np.True_
    )
    assert given == MCTS(rollouts=4, width=2, exploration=0.5, max_seconds=5, reflection=True)
    assert {type(given.rollouts), type(given.width)} == {int}
    assert (type(given.exploration), type(given.reflection)) == (float, bool)
