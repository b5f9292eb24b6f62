"""Dispatching to replicas whose reports the test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import count
from typing import Any, NoReturn

import pytest
from marcot.engine import InputError, Outcome
from marcot.engine.replicas import stragglers
from marcot.engine.replicas.assignment_queue import AssignmentQueue
from marcot.engine.replicas.dispatcher import Dispatcher
from marcot.engine.replicas.messages import Abandon, Assignment, ReplicaEvent, Request
from marcot.engine.replicas.replica import Replica
from marcot.engine.search import Progress, Question
from marcot.engine.usage import Usage

RESULT: Any = "a result"
FAILED = InputError("it failed")


class Told(Replica):
    """A replica that records its messages."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.is_ready = True
        self.requests: list[Request] = []

    def stop(self) -> None: ...

    def farewell(self) -> str:
        return "was unplugged"

    def replace(self) -> NoReturn:
        raise NotImplementedError

    def _send(self, request: Request) -> None:
        self.requests.append(request)

    def _receive(self) -> NoReturn:
        raise NotImplementedError


def dispatched(questions: Sequence[str], replicas: int, concurrency: int) -> tuple[Dispatcher, list[Told]]:
    def assign(ticket: int, position: int, question: Question) -> Assignment:
        return Assignment(ticket, position, question, b"", None, None, date(2026, 1, 1))

    told = [Told(number) for number in range(replicas)]
    queue = AssignmentQueue(questions, count(100), assign)
    dispatcher = Dispatcher(told, queue, concurrency)
    assert dispatcher.feed()
    return dispatcher, told


def progress(position: int) -> Progress:
    return Progress(position, rollouts=1, nodes=1, generated_tokens=1, best_value=None, best_answer="")


def outcome(position: int, error: InputError | None = None) -> Outcome:
    return Outcome(position, "?", RESULT if error is None else None, error)


def take(dispatcher: Dispatcher, replica: Told, event: Progress | Outcome) -> list[Progress | Outcome]:
    """The events that the dispatcher yields when a replica reports `event` on its question."""
    [ticket] = [each.ticket for each in replica.assigned.values() if each.position == event.index] or [0]
    return list(dispatcher.take(replica, ReplicaEvent(ticket, event, Usage(), 0)))


def positions(replica: Told) -> list[int]:
    return [assignment.position for assignment in replica.assigned.values()]


@pytest.fixture(autouse=True)
def _every_question_straggles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as one has ended."""
    monkeypatch.setattr(stragglers, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(stragglers, "_FACTOR", 0.0)


def copied() -> tuple[Dispatcher, Told, Told]:
    """Two replicas that both search question 0, the second as a copy."""
    dispatcher, [first, second] = dispatched(["a", "b"], 2, 1)
    assert take(dispatcher, second, outcome(1)) == [outcome(1)]
    assert dispatcher.feed()
    assert dispatcher.is_over
    assert (positions(first), positions(second), dispatcher.running) == ([0], [0], 1)
    return dispatcher, first, second


def test_questions_go_to_the_replica_with_the_fewest() -> None:
    _, told = dispatched([str(number) for number in range(8)], 3, 2)
    assert [positions(each) for each in told] == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("winner", [0, 1], ids=["original", "copy"])
def test_the_first_result_counts_and_the_other_search_is_abandoned(winner: int) -> None:
    dispatcher, *both = copied()
    loser = both[1 - winner]
    assert take(dispatcher, both[1], progress(0)) == []
    assert take(dispatcher, both[0], progress(0)) == [progress(0)]
    [ticket] = both[winner].assigned
    assert take(dispatcher, both[winner], outcome(0)) == [outcome(0)]
    assert loser.requests[-1] == Abandon(frozenset({ticket}))
    assert take(dispatcher, loser, outcome(0)) == []
    assert not dispatcher.feed()


@pytest.mark.parametrize("failing", [0, 1], ids=["original", "copy"])
def test_an_error_counts_only_if_no_other_replica_searches_the_question(failing: int) -> None:
    dispatcher, *both = copied()
    other = both[1 - failing]
    assert take(dispatcher, both[failing], outcome(0, FAILED)) == []
    assert dispatcher.feed()
    assert take(dispatcher, other, progress(0)) == [progress(0)]
    assert take(dispatcher, other, outcome(0, FAILED)) == [outcome(0, FAILED)]
    assert not dispatcher.feed()


@pytest.mark.parametrize("dying", [0, 1], ids=["original", "copy"])
def test_a_question_that_another_replica_searches_is_not_lost(dying: int) -> None:
    dispatcher, *both = copied()
    gone, other = both[dying], both[1 - dying]
    dispatcher.lose(gone, "was unplugged")
    gone.is_ready, gone.assigned = False, {}
    assert dispatcher.feed()
    assert positions(other) == [0]
    assert take(dispatcher, other, progress(0)) == [progress(0)]
    assert take(dispatcher, other, outcome(0)) == [outcome(0)]
    assert not dispatcher.feed()


def test_a_question_is_copied_once_and_only_when_no_others_are_left() -> None:
    dispatcher, told = dispatched(["a", "b", "c", "d"], 3, 1)
    assert take(dispatcher, told[2], outcome(2)) == [outcome(2)]
    assert dispatcher.feed()
    assert positions(told[2]) == [3], "a question that nobody searches goes first"
    assert take(dispatcher, told[2], outcome(3)) == [outcome(3)]
    assert take(dispatcher, told[1], outcome(1)) == [outcome(1)]
    assert dispatcher.feed()
    assert [positions(each) for each in told] == [[0], [0], []]
