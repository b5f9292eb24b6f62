"""The progress of an evaluation, on a terminal and in a pipe."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from marcot.engine import InputError, Outcome, Progress
from marcot.engine.evaluation import EvalStage, EvalView
from marcot.engine.search import MCTS, Greedy, Strategy
from support.searches.trials import searched

RESULT = searched(MCTS(action="mini-step-3", rollouts=2, max_rollout_tokens=9))
SEARCH = MCTS(rollouts=4, max_tokens=100)


def run(view: EvalView) -> None:
    view.begin()
    view.show(Progress(0, 2, 9, 20, math.nan, ""))
    view.show(Outcome(0, "How many?", RESULT, None), correct=True)
    view.begin()
    view.show(Outcome(1, "How much?", None, InputError("no")))


LEGS = [EvalStage("tiny, mcts [8]", 2, SEARCH), EvalStage("tiny, greedy", 2, MCTS(rollouts=None, max_tokens=100))]


def test_a_terminal_gets_bars_that_go_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with EvalView(LEGS) as view:
        run(view)
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("tiny, greedy", "2/4", "1/2", "0 right", "tokens/s", "left"):
        assert part in shown.err


def test_a_narrow_terminal_gets_numbers_without_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    with EvalView([EvalStage("qwen2.5-coder-0.5b, mcts:action=mini-step-32", 2, SEARCH)]) as view:
        view.begin()
        view.show(Outcome(0, "How many?", RESULT, None), correct=True)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err).replace("\r", "\n")
    assert re.search(r"^all +1/2 about \d+:\d\d:\d\d left *$", shown, re.MULTILINE)
    assert re.search(r"^qwen2.5-cod… 1/2 1 right *$", shown, re.MULTILINE)


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marcot.engine.evaluation.eval_view.PLAIN_LINE_EVERY", 0.0)
    with EvalView(LEGS) as view:
        run(view)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("tiny, mcts [8]: 0 of 2 questions, 1 running, 1 not started, 0 right; in all 0 of 4, ")
    assert first.endswith("no estimate yet")
    assert second.startswith("tiny, mcts [8]: 1 of 2 questions, 1 not started, 1 right; in all 1 of 4, ")
    assert third.startswith("tiny, greedy: 1 of 2 questions, 1 not started, 0 right; in all 2 of 4, ")
    assert third.endswith(" left")
    assert "\x1b" not in first + second + third


def ended(index: int, tokens: int) -> Outcome:
    assert RESULT.stats is not None
    return Outcome(index, "?", replace(RESULT, stats=replace(RESULT.stats, generated_tokens=tokens)), None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    for module in ("results.pace", "evaluation.eval_view"):
        monkeypatch.setattr(f"marcot.engine.{module}.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_strategies_that_have_not_begun_are_counted_by_their_chains(clock: list[float]) -> None:
    view = EvalView([EvalStage("a, greedy", 10, Greedy()), EvalStage("a, mcts", 10, MCTS(rollouts=8))])
    view.begin()
    clock[0] += 20
    view.show(ended(0, 100))
    view.show(ended(1, 100))
    # At 10 tokens/s: eight greedy chains, and ten searches of eight chains each.
    assert view.seconds_left == pytest.approx((8 * 100 + 10 * 800) / 10)


def test_a_strategy_costs_another_model_what_it_cost_before(clock: list[float]) -> None:
    strategies: list[Strategy] = [Greedy(), MCTS(rollouts=8)]
    view = EvalView([EvalStage(f"{model}, {each.name}", 4, each) for model in "ab" for each in strategies])
    for tokens, seconds in ((100, 10.0), (500, 25.0)):
        view.begin()
        clock[0] += seconds
        for index in range(4):
            view.show(ended(index, tokens))
    assert view.seconds_left == pytest.approx(10 + 25)
    view.begin()
    assert view.seconds_left == pytest.approx(10 + 25)
    clock[0] += 100
    view.show(ended(0, 100))
    assert view.seconds_left == pytest.approx(300 + 25)


@pytest.mark.parametrize(
    ("strategy", "weight"),
    [
        (Greedy(), 1),
        (MCTS(rollouts=8), 8),
        (MCTS(rollouts=None, max_tokens=4096, max_rollout_tokens=512), 8),
        (MCTS(rollouts=4, max_tokens=4096, max_rollout_tokens=512), 4),
        (MCTS(rollouts=None, max_seconds=10), 1),
    ],
    ids=["greedy", "rollouts", "tokens", "both", "seconds"],
)
def test_weights(strategy: Strategy, weight: float) -> None:
    assert EvalStage("", 1, strategy).weight == weight


def test_no_estimate_from_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marcot.engine.evaluation.eval_view.PLAIN_LINE_EVERY", 0.0)
    with EvalView([EvalStage("m", 3, SEARCH)]) as view:
        view.begin()
        view.show(Progress(0, 0, 1, 10, 0.5, ""))
    assert "no estimate yet" in capsys.readouterr().err
