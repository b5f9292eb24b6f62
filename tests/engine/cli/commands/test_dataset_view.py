"""The progress of `marcot dataset`, on a terminal and in a pipe."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from marcot.engine.cli.commands.dataset_view import ProgressBar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("marcot.engine.cli.commands.dataset_view.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_pipe_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with ProgressBar() as bar:
        for done in range(400, 500):
            bar.show("writing", done, 1000)
            clock[0] += 1
    # Only questions of this run count for its speed, not those of an earlier run: 30 questions in 30 s, 570 to go.
    assert capsys.readouterr().err.splitlines() == [
        "writing: 430 of 1000 (43%), about 0:09:30 left",
        "writing: 460 of 1000 (46%), about 0:09:00 left",
        "writing: 490 of 1000 (49%), about 0:08:30 left",
    ]


def test_no_estimate_from_nothing(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with ProgressBar() as bar:
        clock[0] += 60
        bar.show("reading", 10, 100)
    assert capsys.readouterr().err == "reading: 10 of 100 (10%), no estimate yet\n"


def test_a_terminal_gets_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with ProgressBar() as bar:
        bar.show("reading", 10, 100)
        bar.show("writing", 50, 100)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "writing" in shown.err
    assert "50 %" in shown.err
