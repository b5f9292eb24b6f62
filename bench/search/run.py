"""A run of `make bench-search`: starts the contestants, times them in turns, and collects the results."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from marcot.engine.evaluation.mgsm import problems

from ..common.machine import Machine
from ..common.remote import MissingPackageError, Remote, RemoteError
from ..cpu.conversion import converted
from ..cpu.other_programs import OtherPrograms, family, processor_seconds
from .lineup import LINEUP, MARCOT, Contestant
from .results import Counts, Entry, InFlight, SearchResults
from .schedule import Schedule
from .workload import Workload

_PROGRAM = "bench.search.child"

Say = Callable[[str], None]
"""Shows the user one line of progress."""


class NoResultsError(Exception):
    """There is nothing to compare with; the message says why."""


class SearchRun:
    """One run on one model. Contestants that do all of the work stay loaded; the others are loaded for their turn.

    Attributes:
        notes: Why something was not measured.
        versions: Versions of all packages that were measured.
        stopped: Whether Ctrl-C ended the run before everything was measured.
    """

    def __init__(self, model: Path, name: str, machine: Machine, workload: Workload, say: Say) -> None:
        """Measure `model`, a checkpoint that is called `name` in the results."""
        self.notes: list[str] = []
        self.versions: dict[str, str] = {}
        self.stopped = False
        self._model = model
        self._name = name
        self._machine = machine
        self._workload = workload
        self._say = say
        self._questions = [problem.question for problem in problems("en")]
        self._weights: dict[str, str] = {}
        self._rounds: dict[str, list[dict[str, float]]] = {}
        self._disturbed: dict[str, list[float]] = {}

    def measure(self, names: Sequence[str]) -> SearchResults:
        """Measure marcot and the contestants `names`. After Ctrl-C, the results are those of the rounds until then.

        Raises:
            NoResultsError: marcot could not be measured.
            KeyboardInterrupt: Ctrl-C came before marcot had finished a round.
        """
        asked = [one for one in LINEUP if one.name == MARCOT or one.name in names]
        shares: dict[str, float] = {}
        in_flight: list[InFlight] = []
        with ExitStack() as held:
            running = {one.name: remote for one in asked if not one.scaled and (remote := self._loaded(one, held))}
            if MARCOT not in running:
                raise NoResultsError(self.notes[0])
            try:
                schedules = [Schedule.of(plain) for plain in running[MARCOT].call("call", method="record")]
            except RemoteError as error:
                raise NoResultsError(f"{MARCOT}: {error}") from error
            self._say(f"recorded {sum(schedule.drawn for schedule in schedules)} tokens")
            try:
                self._time_rounds(asked, running, schedules)
                shares = self._asked(running[MARCOT], "time_shares") or {}
                for count in self._workload.in_flight:
                    if (found := self._in_flight(running[MARCOT], count)) is not None:
                        in_flight.append(found)
            except KeyboardInterrupt:
                if MARCOT not in self._rounds:
                    raise
                self.stopped = True
                self.notes.append("stopped before the end")
        if MARCOT not in self._rounds:
            raise NoResultsError(self.notes[-1])
        entries = [self._entry(one, schedules) for one in asked if one.name in self._rounds]
        counts = _counts(schedules)
        return SearchResults(
            self._machine, self.versions, self._name, self._workload, counts, entries, in_flight, shares, self.notes
        )

    def _time_rounds(
        self, asked: Sequence[Contestant], running: dict[str, Remote], schedules: Sequence[Schedule]
    ) -> None:
        """Time the contestants in `running` in every round, and each of the others in one of them."""
        later = [one for one in asked if one.scaled]
        for number in range(self._workload.rounds):
            for one in asked:
                if one.name in running:
                    self._time(one, running[one.name], schedules, number)
            for one in later[number :: self._workload.rounds]:
                self._time_once(one, schedules, number)

    def _loaded(self, one: Contestant, held: ExitStack) -> Remote | None:
        """Load a contestant in a process that ends with `held`; None, and a note, if it is not available."""
        if one.variable is not None and not os.environ.get(one.variable):
            self.notes.append(f"{one.name}: set {one.variable} to its command, flags included")
            return None
        remote = held.enter_context(Remote(one.python, {}, _PROGRAM))
        options = dict(one.options) | {"threads": self._machine.threads}
        if one.name == MARCOT:
            work = self._workload
            options |= {"questions": self._questions[: work.questions], "rollouts": work.rollouts}
            options |= {"rollout_tokens": work.rollout_tokens}
        try:
            remote.call("probe", contestant=one.searcher)
            path = self._model if one.conversion is None else converted(self._model, one.conversion, one.python)
            loaded = remote.call(
                "load", contestant=one.searcher, model=str(path), packages=list(one.packages), options=options
            )
        except MissingPackageError as error:
            self.notes.append(f"{one.name}: {error} is not installed: pip install {one.packages[0]}")
            return None
        except (RemoteError, RuntimeError) as error:
            self.notes.append(f"{one.name}: {error}")
            return None
        self.versions |= loaded["versions"]
        self._weights[one.name] = loaded["weights"] or one.weights
        self._say(f"{one.name}: loaded, {self._weights[one.name]}")
        return remote

    def _time_once(self, one: Contestant, schedules: Sequence[Schedule], number: int) -> None:
        with ExitStack() as held:
            if (remote := self._loaded(one, held)) is not None:
                self._time(one, remote, _part(one, schedules), number)

    def _time(self, one: Contestant, remote: Remote, schedules: Sequence[Schedule], number: int) -> None:
        """Time one round of a contestant; on an error or a wrong number of tokens, note it and leave the round out."""
        try:
            remote.call("prepare", schedules=schedules)
            before = sum(map(processor_seconds, family(remote.process)))
            with OtherPrograms(lambda: family(remote.process)) as others:
                found: dict[str, float] = remote.call("search")
            found["processor_s"] = sum(map(processor_seconds, family(remote.process))) - before
        except RemoteError as error:
            self.notes.append(f"{one.name}, round {number + 1}: {error}")
            return
        drawn = sum(schedule.drawn for schedule in schedules)
        if found["tokens"] != drawn:
            self.notes.append(
                f"{one.name}, round {number + 1} does not count: {found['tokens']} tokens instead of {drawn}"
            )
            return
        self._rounds.setdefault(one.name, []).append(found)
        self._disturbed.setdefault(one.name, []).append(others.cores)
        self._say(
            f"{one.name}, round {number + 1} of {self._workload.rounds}: {found['seconds']:.1f} s for {drawn} tokens"
            f" ({found['processor_s']:.1f} s of processor time; others used {others.cores:.1f} processors)"
        )

    def _entry(self, one: Contestant, schedules: Sequence[Schedule]) -> Entry:
        found = self._rounds[one.name]
        part = _part(one, schedules)
        scale = _work(one, schedules) / _work(one, part)
        measured = [each["seconds"] for each in found]
        return Entry(
            contestant=one.name,
            weights=self._weights[one.name],
            seconds=[seconds * scale for seconds in measured],
            measured_s=measured,
            processor_s=[each["processor_s"] * scale for each in found],
            scale=scale,
            tables=found[-1]["tables"] / found[-1]["tokens"],
            confidence=statistics.fmean(each["confidence"] for each in found),
            disturbed=statistics.fmean(self._disturbed[one.name]),
        )

    def _in_flight(self, marcot: Remote, count: int) -> InFlight | None:
        seconds = self._workload.in_flight_s
        found = self._asked(marcot, "in_flight", questions=self._questions, concurrency=count, seconds=seconds)
        if found is None:
            return None
        self._say(f"{count} questions in flight: {found['tokens_per_s']:.1f} tokens/s")
        return InFlight(questions=count, **found)

    def _asked(self, marcot: Remote, method: str, **arguments: object) -> dict[str, float] | None:
        """Call a method that only marcot has; on an error, note it, so that all other results are kept."""
        try:
            found: dict[str, float] = marcot.call("call", method=method, **arguments)
        except RemoteError as error:
            self.notes.append(f"{MARCOT}, {method}: {error}")
            return None
        return found


def _part(one: Contestant, schedules: Sequence[Schedule]) -> list[Schedule]:
    """Return the part of the work that a contestant does."""
    return [schedule.head(one.branches or len(schedule.branches)) for schedule in schedules[: one.questions]]


def _work(one: Contestant, schedules: Sequence[Schedule]) -> int:
    """Return the amount of work that a contestant's time is assumed to be proportional to."""
    return sum(schedule.whole_positions if one.whole_sequences else schedule.drawn for schedule in schedules)


def _counts(schedules: Sequence[Schedule]) -> Counts:
    branches = [branch for schedule in schedules for branch in schedule.branches]
    return Counts(
        branches=len(branches),
        waves=sum(len(schedule.waves) for schedule in schedules),
        drawn=sum(branch.tokens for branch in branches),
        prompt=sum(len(schedule.prompt) for schedule in schedules),
        reused=sum(len(schedule.prompt) + branch.kept for schedule in schedules for branch in schedule.branches),
    )
