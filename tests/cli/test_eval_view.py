from __future__ import annotations

import math
from dataclasses import replace

import pytest
from marcot.engine import InputError, Outcome, Progress
from marcot.engine.cli.eval_view import EvalView
from marcot.engine.search import MCTS
from trials import searched

RESULT = searched(MCTS(action="mini-step-3", rollouts=2, max_rollout_tokens=9))


def run(view: EvalView) -> None:
    view.begin("tiny, mcts [8]", 2, MCTS(rollouts=4, max_tokens=100))
    view.show(Progress(0, 2, 9, 20, math.nan, ""))
    view.show(Outcome(0, "How many?", RESULT, None), correct=True)
    view.begin("tiny, greedy", 2, MCTS(rollouts=None, max_tokens=100))
    view.show(Outcome(1, "How much?", None, InputError("no")))


def test_a_terminal_gets_bars_that_go_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with EvalView(4) as view:
        run(view)
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("tiny, greedy", "2/4", "1/2", "0 right", "tokens/s", "left"):
        assert part in shown.err


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marcot.engine.cli.eval_view.PLAIN_LINE_EVERY", 0.0)
    with EvalView(4) as view:
        run(view)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("tiny, mcts [8]: 0 of 2 questions, 0 right; in all 0 of 4, ")
    assert second.startswith("tiny, mcts [8]: 1 of 2 questions, 1 right; in all 1 of 4, ")
    assert third.startswith("tiny, greedy: 1 of 2 questions, 0 right; in all 2 of 4, ")
    assert "\x1b" not in first + second + third


@pytest.mark.parametrize(
    ("rollouts", "tokens", "share"), [(2, 20, 0.5), (0, 60, 0.6), (4, 10, 1.0), (9, 10, 1.0)], ids=str
)
def test_time_left_is_estimated_from_open_questions_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rollouts: int, tokens: int, share: float
) -> None:
    now = [1000.0]
    monkeypatch.setattr("marcot.engine.cli.eval_view.time.monotonic", lambda: now[0])
    with EvalView(5) as view:
        view.begin("m", 5, MCTS(rollouts=4, max_tokens=100))
        now[0] += 60
        view.show(Progress(0, rollouts, 9, tokens, 0.5, ""))
    left = round(60 / share * (5 - share))
    assert f"about 0:{left // 60:02}:{left % 60:02} left" in capsys.readouterr().err


def test_no_estimate_from_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marcot.engine.cli.eval_view.PLAIN_LINE_EVERY", 0.0)
    with EvalView(3) as view:
        view.begin("m", 3, replace(MCTS(), max_tokens=100))
        view.show(Progress(0, 0, 1, 10, 0.5, ""))
    assert "no estimate yet" in capsys.readouterr().err
