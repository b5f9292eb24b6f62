"""Estimates of the time left."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from marcot.engine import InputError, Outcome, Progress
from marcot.engine.results.pace import Pace, time_left
from support.searches.grown_tree import grown_tree

RESULT = grown_tree(1, 2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests can change."""
    now = [1000.0]
    monkeypatch.setattr("marcot.engine.results.pace.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def running(index: int, tokens: int) -> Progress:
    return Progress(index, 1, 5, tokens, math.nan, "")


def ended(index: int, tokens: int) -> Outcome:
    assert RESULT.stats is not None
    return Outcome(index, "?", replace(RESULT, stats=replace(RESULT.stats, generated_tokens=tokens)), None)


def test_events_may_come_in_while_another_thread_reads(clock: list[float]) -> None:
    """A live display does, at any point between two bytecodes."""
    pace = Pace(100)

    class Interrupting(Progress):
        __slots__ = ()

        @property
        def generated_tokens(self) -> int:  # type: ignore[override]
            pace.take(running(pace.finished + 7, 5))
            pace.take(ended(pace.finished, 10))
            return 3

    pace.take(running(1, 50))
    waiting = object.__new__(Interrupting)
    object.__setattr__(waiting, "index", 2)
    pace.take(waiting)
    assert pace.tokens >= 53


def test_what_has_not_started_costs_as_much_as_what_has_finished(clock: list[float]) -> None:
    pace = Pace(100)
    for event in (ended(0, 300), ended(1, 100), running(2, 150), running(3, 50)):
        pace.take(event)
    clock[0] += 60
    # 10 tokens/s; 96 questions of 200 tokens have not started, and the running ones have 50 and 150 tokens left.
    assert pace.tokens_per_s == 10
    assert pace.seconds_left == pytest.approx((96 * 200 + 50 + 150) / 10)
    assert str(pace) == "2 of 100 questions, 2 running, 96 not started"


def test_nothing_is_estimated_before_a_question_has_finished(clock: list[float]) -> None:
    pace = Pace(4)
    assert pace.seconds_left is None
    pace.take(running(0, 5000))
    clock[0] += 60
    assert pace.seconds_left is None
    pace.take(Outcome(0, "?", None, InputError("too long")))
    assert pace.seconds_left is not None  # it drew tokens before it failed
    assert time_left(None) == "no estimate yet"


def test_questions_that_fail_at_once_are_no_evidence(clock: list[float]) -> None:
    pace = Pace(4)
    pace.take(Outcome(0, "?", None, InputError("empty")))
    clock[0] += 1
    assert (pace.finished, pace.seconds_left) == (1, None)


def test_cheap_questions_end_first(clock: list[float]) -> None:
    pace = Pace(10)
    for event in (ended(0, 100), running(1, 700), running(2, 20)):
        pace.take(event)
    assert pace.cost is None
    pace.take(ended(3, 100))
    assert pace.cost == 300


def test_running_questions_never_count_as_finished(clock: list[float]) -> None:
    pace = Pace(2)
    for event in (ended(0, 100), running(1, 300)):
        pace.take(event)
    clock[0] += 40
    assert pace.seconds_left == pytest.approx(0.25 * 200 / 10)


def test_at_the_end_nothing_is_left_and_the_clock_stands(clock: list[float]) -> None:
    pace = Pace(2)
    clock[0] += 10
    for event in (running(0, 10), ended(0, 30), ended(1, 50)):
        pace.take(event)
    clock[0] += 1000
    assert (pace.seconds, pace.seconds_left, str(pace)) == (10, 0, "2 of 2 questions")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05"), (360_000, "100:00:00")]
)
def test_time_left(seconds: float, shown: str) -> None:
    assert time_left(seconds) == f"about {shown} left"
