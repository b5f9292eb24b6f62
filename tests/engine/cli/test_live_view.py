"""The live view of a search, on a terminal and in a pipe."""

from __future__ import annotations

import math
import re

import pytest
from marcot.engine import InputError, Outcome, Progress
from marcot.engine.cli.live_view import LiveView
from marcot.engine.results.question_file import InputQuestion

QUESTIONS = [InputQuestion(4, "How many [clips]?"), InputQuestion(7, "How\nmuch?")]
EVENTS = [
    Progress(0, 0, 1, 30, math.nan, ""),
    Progress(0, 2, 9, 120, 0.875, "[72]", (1, 2)),
    Progress(1, 1, 3, 60, 0.5, "3", (1, 1)),
    Outcome(0, "How many [clips]?", None, InputError("no")),
]


def test_a_terminal_gets_a_table_that_goes_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "150")
    with LiveView(QUESTIONS, 8) as view:
        for event in EVENTS[:3]:
            view.show(event)
        with view.paused():
            print("a result")
        view.show(EVENTS[3])
    shown = capsys.readouterr()
    assert shown.out == "a result\n"
    for part in (
        "2/8",
        "0.875",
        "[72], 1 of 2",
        "How many [clips]?",
        "How much?",
        "tokens/s",
        "1 of 2 questions",
        " left",
    ):
        assert part in shown.err


def test_a_narrow_terminal_gets_fewer_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    with LiveView(QUESTIONS, 8) as view:
        for event in EVENTS[:3]:
            view.show(event)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "#  rollouts  best answer" in shown
    assert "…" not in shown


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marcot.engine.cli.live_view.PLAIN_LINE_EVERY", 0.0)
    with LiveView(QUESTIONS, 8) as view:
        for event in EVENTS:
            view.show(event)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("0 of 2 questions, 1 running, 1 not started, 120 tokens, ")
    assert lines[1].endswith("; #5: 2/8 rollouts, 9 nodes, best 0.875 ([72], 1 of 2)")
    assert ", no estimate yet; #5: " in lines[1]
    assert lines[3].startswith("1 of 2 questions, 1 running, 180 tokens, ")
    assert " left; #8: 1/8 rollouts" in lines[3]
    assert "\x1b" not in "".join(lines)


def test_a_pipe_gets_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveView(QUESTIONS, 8) as view:
        for event in EVENTS:
            view.show(event)
    assert capsys.readouterr().err == ""
