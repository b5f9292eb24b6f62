"""Actions, values and rules of the user's own, named as `module:attribute`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from marcot import MCTS, InputError
from marcot.engine.search.actions import resolve_action
from marcot.engine.search.answers import resolve_answer_parser, resolve_answer_rule
from marcot.engine.search.strategy_spec import parse_strategies
from marcot.engine.search.user_import import import_attribute, is_import_path
from marcot.engine.search.values import resolve_value

MINE = """
from dataclasses import dataclass

from marcot import Action, Greedy, Strategy, Value

NUMBER = 3


class Half(Value):
    name = "half"

    def of(self, trace):
        return 0.5


class Whole(Action):
    name = "whole"

    def cut(self, token_ids, decode, confidences):
        return [len(token_ids)] if len(token_ids) else []


WHOLE = Whole()


class Last:
    def __call__(self, rollouts, tree):
        return rollouts[-1]


class Needy(Value):
    name = "needy"

    def __init__(self, model):
        self.model = model


def first(rollouts, tree):
    return rollouts[0]


def rate(trace):
    return 0.25


def end(text):
    return text[-1:]


@dataclass(frozen=True, kw_only=True)
class Often(Greedy):
    name = "often"
    times: int = 2
    word: str = "a"
    limit: int | None = None


class Nameless(Strategy):
    def grow(self, run):
        yield


class Growless(Strategy):
    name = "growless"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module of the user's own that only this test knows."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    (tmp_path / "failing.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    yield tmp_path
    for name in ("mine", "broken", "failing"):
        sys.modules.pop(name, None)


def test_the_current_folder_is_looked_in_last(folder: Path) -> None:
    (folder / "json.py").write_text("1 / 0\n", encoding="utf-8")
    assert import_attribute("json:dumps", "value") is __import__("json").dumps
    assert import_attribute("mine:NUMBER", "value") == 3
    assert sys.path[-1] == str(folder)
    assert sys.path.count(str(folder)) == 1


def test_classes_become_objects_and_objects_stay() -> None:
    assert resolve_value("mine:Half").name == "half"
    assert resolve_value("mine:rate").name == "mine:rate"
    assert resolve_value("0.5*mine:Half+0.5*marco").name
    assert resolve_action("mine:Whole").name == "whole"
    assert resolve_action("mine:WHOLE") is import_attribute("mine:WHOLE", "action")
    assert resolve_answer_rule("mine:first")(["a", "b"], []) == "a"  # type: ignore[comparison-overlap, list-item]
    assert resolve_answer_rule("mine:Last")(["a", "b"], []) == "b"  # type: ignore[comparison-overlap, list-item]
    assert resolve_answer_parser("mine:end")("so 8") == "8"


def test_results_name_what_was_chosen() -> None:
    chosen = MCTS(action="mine:Whole", value="mine:Half", answer_rule="mine:first", answer_from="mine:end")
    names = chosen.settings()
    assert [names[key] for key in ("action", "value", "answer_rule", "answer_from")] == [
        "mine:Whole",
        "mine:Half",
        "mine:first",
        "mine:end",
    ]


def test_a_strategy_has_parameters_like_any_other() -> None:
    often, mcts, again = parse_strategies("mine:Often:times=3,limit=none,temperature=0,mcts:width=2,mine:Often")
    assert [spec.label for spec in (often, mcts, again)] == [
        "mine:Often:times=3,limit=none,temperature=0",
        "mcts:width=2",
        "mine:Often",
    ]
    assert often.strategy == import_attribute("mine:Often", "strategy")(times=3, sampling=often.strategy.sampling)  # type: ignore[operator]
    assert often.strategy.sampling.temperature == 0
    assert again.strategy.settings()["times"] == 2


WRONG: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "no module": (
        resolve_value,
        "nowhere:rate",
        "value 'nowhere:rate': there is no module nowhere in .* or among the installed packages",
    ),
    "no submodule": (resolve_value, "mine.sub:rate", "there is no module mine.sub in"),
    "no attribute": (resolve_action, "mine:Hole", r"action 'mine:Hole': .*mine.py has no Hole"),
    "an import in it fails": (
        resolve_answer_rule,
        "broken:f",
        "importing broken failed: No module named 'nothing_of_this_name'",
    ),
    "it fails": (
        resolve_answer_parser,
        "failing:f",
        "answer_from 'failing:f': importing failing failed: ZeroDivisionError",
    ),
    "a class that needs arguments": (
        resolve_value,
        "mine:Needy",
        r"Needy\(\) failed: .*model.*; name an instance instead of the class",
    ),
    "no value": (resolve_value, "mine:NUMBER", "is 3; it must be a function of a Trace, or a Value"),
    "no action": (resolve_action, "mine:Half", "it must be a class derived from Action"),
    "no rule": (resolve_answer_rule, "mine:NUMBER", "is 3; it must be a function of the rollouts and the tree"),
    "no parser": (resolve_answer_parser, "mine:NUMBER", "is 3; it must be a function of a text"),
    "no strategy": (parse_strategies, "mine:Half", "it must be a class derived from Strategy with grow"),
    "a strategy without a name": (
        parse_strategies,
        "mine:Nameless",
        'the class needs a name, such as name = "nameless"',
    ),
    "a strategy that cannot grow": (
        parse_strategies,
        "mine:Growless",
        "must be a class derived from Strategy with",
    ),
    "no such parameter": (
        parse_strategies,
        "mine:Often:rows=3",
        "mine:Often has no parameter 'rows': it has .*times",
    ),
    "a parameter of another type": (parse_strategies, "mine:Often:times=x", "times='x': must be an integer"),
}


@pytest.mark.parametrize(("read", "path", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_named(read: Callable[[str], Any], path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize("text", ["mine:rate", "my.own_module:Class", "_a:b2"])
def test_what_is_a_path(text: str) -> None:
    assert is_import_path(text)


@pytest.mark.parametrize(
    "text", ["marco", "a:", ":b", "a:b:c", "2a:b", "Answer: x", r"answer:(\d+)", "a.:b", "mini-step-3"]
)
def test_texts_that_are_not_import_paths(text: str) -> None:
    assert not is_import_path(text)
