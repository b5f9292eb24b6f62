"""Runs many searches at once over one scheduler."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple

from ...kernels import MarcotError
from ..checking import check_count, check_number
from ..kv.tree import KVTree
from ..node import Node
from ..outcome import Outcome
from ..search.protocol import Call, Progress, Search, Searcher, Task, Wave
from ..search.question import Question
from ..search.result import SearchResult, SearchStats
from ..search.rollout.token_ends import with_token_ends
from ..search.user_code import UserCode
from ..text.token_codec import TokenCodec
from ..usage import Usage
from .branch import Branch
from .expansion_batch import ExpansionBatch
from .running_calls import RunningCall, RunningCalls
from .scheduler import Scheduler

PROGRESS_EVERY = 0.5
"""Seconds between progress reports on running waves."""


class SearchDriver:
    """Submits the waves of search generators to the scheduler and sends the resulting nodes back to the generators.

    Calls of slow code run beside the scheduler; only the search that has yielded one waits for it. At most
    `concurrency` questions are open at a time, so that memory stays bounded for any number of questions.
    """

    def __init__(self, scheduler: Scheduler, tree: KVTree, codec: TokenCodec, calls: RunningCalls) -> None:
        """Drive searches on `scheduler`, which works on `tree`; `calls` runs slow code."""
        self._calls = calls
        self._scheduler = scheduler
        self._tree = tree
        self._codec = codec

    def run(
        self,
        questions: Iterable[object],
        open_task: Callable[[int, Question], Task],
        strategy: Searcher,
        concurrency: int,
        total: Usage,
        count: int | None,
        priority: int = 0,
    ) -> Generator[Progress | Outcome | None]:
        """Search every question; yield progress after each wave and twice a second, and each outcome when it is known.

        If a question fails, its outcome is the error, and the others go on. A yielded None asks the caller to run a
        step of the scheduler; if that is idle, to wait until a call has ended, but not longer than `PROGRESS_EVERY`.

        Args:
            questions: Anything `Question.of` accepts, taken one by one as places become free. If the iterator raises an
                error, the open questions are finished before it is raised.
            open_task: Renders the prompt of a question; if it raises a `MarcotError`, that is the question's outcome.
            strategy: Starts the searches.
            concurrency: Maximum questions that are open at a time.
            total: Counts all work, in addition to each question's own count.
            count: How many questions there are, if known.
            priority: Priority of all branches; see `Scheduler.expand`.
        """
        pending = _Pending(questions)
        runs: list[_Run] = []
        last_report = time.monotonic()
        finished = 0

        def counted(event: Progress | Outcome) -> Progress | Outcome:
            nonlocal finished
            if isinstance(event, Outcome):
                finished += 1
                return event
            return dataclasses.replace(event, finished=finished, running=len(runs), total=count)

        try:
            while True:
                while len(runs) < concurrency and (entry := pending.next()) is not None:
                    opened = self._opened(*entry, open_task, strategy, priority)
                    outcome = opened if isinstance(opened, Outcome) else self._begin(opened, runs, total)
                    if outcome is not None:
                        yield counted(outcome)
                if not runs:
                    break
                for run in runs:
                    run.check_deadline()
                self._calls.start()
                ready = [run for run in runs if run.finished]
                if not ready:
                    yield None
                    ready = [run for run in runs if run.finished]
                for run in ready:
                    outcome = self._advance(run, runs, total)
                    yield counted(run.progress if outcome is None else outcome)
                if time.monotonic() - last_report >= PROGRESS_EVERY:
                    last_report = time.monotonic()
                    yield from [counted(run.progress) for run in runs]
        finally:
            for run in runs:
                run.close(total)
        if pending.error is not None:
            raise pending.error

    def _opened(
        self, index: int, asked: object, open_task: Callable[[int, Question], Task], strategy: Searcher, priority: int
    ) -> _Run | Outcome:
        """The search of the question at `index`, or an outcome with the error that prevents it."""
        text = asked if isinstance(asked, str) else repr(asked)
        try:
            question = Question.of(asked)
            text = question.text
            task = open_task(index, question)
            return _Run(task, strategy, self._scheduler, self._tree, self._codec, self._calls, priority)
        except MarcotError as error:
            return Outcome(index, text, None, error)

    def _begin(self, run: _Run, runs: list[_Run], total: Usage) -> Outcome | None:
        """Start a search: add it to `runs`, or return its outcome if it ends at once."""
        runs.append(run)
        return self._advance(run, runs, total)

    def _advance(self, run: _Run, runs: list[_Run], total: Usage) -> Outcome | None:
        """Resume a search with what it has waited for; if it ends, remove it from `runs` and return its outcome."""
        result: SearchResult | None = None
        failure: MarcotError | None = None
        try:
            result = run.advance()
        except MarcotError as error:
            failure = error.with_traceback(None)  # a traceback would keep the whole search in memory
        if result is None and failure is None:
            return None
        if result is not None:
            tree = with_token_ends(result.tree, run.task.decode)
            result = dataclasses.replace(result, tree=tree, stats=run.stats(self._tree.pool.peak))
        runs.remove(run)
        run.close(total)
        return Outcome(run.task.index, run.task.question, result, failure)


class _Pending:
    """Questions that have not been opened yet.

    Attributes:
        error: The error that the iterator raised, or None.
    """

    def __init__(self, questions: Iterable[object]) -> None:
        self.error: Exception | None = None
        self._numbered = enumerate(questions)

    def next(self) -> tuple[int, object] | None:
        """The next question and its index; None if there are no more."""
        if self.error is not None:
            return None
        try:
            return next(self._numbered, None)
        except Exception as error:
            self.error = error
            return None


class _InFlight(NamedTuple):
    """An expansion whose nodes the search has not received yet.

    Attributes:
        batch: The expansions of its wave.
        place: Its index among them.
        due: How many tokens its branches may have drawn by the time the search resumes; None for any number.
    """

    batch: ExpansionBatch
    place: int
    due: int | None

    @property
    def ended(self) -> bool:
        """Whether all its branches have ended within `due` tokens."""
        return all(branch.finished and not self._goes_on(branch) for branch in self.batch.branches[self.place])

    @property
    def ready(self) -> bool:
        """Whether `ended` is final: more tokens cannot change it."""
        return all(branch.finished or self._goes_on(branch) for branch in self.batch.branches[self.place])

    def _goes_on(self, branch: Branch) -> bool:
        """Whether a branch draws more than `due` tokens; those beyond may have been drawn already."""
        if self.due is None or branch.finish_reason == "cancelled":
            return False
        return branch.count > self.due or (branch.count == self.due and not branch.finished)


class _Run:
    """A running search, with its branches in flight and the call that it waits for."""

    def __init__(
        self,
        task: Task,
        strategy: Searcher,
        scheduler: Scheduler,
        tree: KVTree,
        codec: TokenCodec,
        calls: RunningCalls,
        priority: int,
    ) -> None:
        self.task = task
        self._priority = priority
        self._strategy = strategy
        self._scheduler = scheduler
        self._tree = tree
        self._codec = codec
        self._calls = calls
        self._code = UserCode(task.question)
        self._usage = Usage()
        self._started = time.monotonic()
        self._search: Search | None = None
        self._progress: Progress | None = None
        self._deadline: float | None = None
        self._in_flight: list[_InFlight] = []
        self._unready: list[_InFlight] = []
        self._call: RunningCall | None = None

    @property
    def finished(self) -> bool:
        """Whether all that the search waits for is there."""
        if self._call is not None:
            return self._call.finished
        while self._unready and self._unready[-1].ready:
            self._unready.pop()
        return not self._unready

    @property
    def progress(self) -> Progress:
        """The search's last progress report, with the number of tokens drawn so far and what it waits for."""
        assert self._progress is not None, "progress exists from the first wave or call on"
        call = self._call
        waiting_for = "" if call is None else f"{call.call.name}, {call.seconds:.0f} s"
        tokens = self._usage.generated_tokens
        return dataclasses.replace(self._progress, generated_tokens=tokens, waiting_for=waiting_for)

    def advance(self) -> SearchResult | None:
        """Start the search or send it what it has waited for, then submit what it asks for next.

        Returns:
            The result if the search has ended, else None.

        Raises:
            MarcotError: A branch or the search has failed. Any other error of the search becomes a `CallableError`.
        """
        if self._call is None and (error := self._error) is not None:
            raise error
        name = f"strategy {getattr(self._strategy, 'name', type(self._strategy).__qualname__)!r}"
        with self._code.running(name):
            try:
                asked = self._resumed()
            except StopIteration as stop:
                if not isinstance(stop.value, SearchResult):
                    raise self._code.error(f"{name} returned {stop.value!r:.100}: must return a SearchResult") from None
                return stop.value
            if not isinstance(asked, Wave | Call) or not isinstance(asked.progress, Progress):
                raise self._code.error(
                    f"{name} yielded {asked!r:.100}: must be a Wave of expansions, with a Progress, or a Call"
                )
            self._progress = asked.progress
            if isinstance(asked, Call):
                self._call = self._calls.submit(asked)
            else:
                self._submit(asked)
        return None

    def _resumed(self) -> object:
        """Run the search up to its next wave or call."""
        if self._search is None:
            self._search = self._strategy.search(self.task)
            return next(self._search)
        if self._call is None:
            return self._search.send(self._landed())
        call, self._call = self._call, None
        try:
            results = call.results()
        except BaseException as error:
            self._calls.cancel(call)
            return self._search.throw(error)
        return self._search.send(results)

    def _submit(self, wave: Wave) -> None:
        window = wave.window
        if wave.deadline is not None:
            check_number("deadline", wave.deadline, "a time of time.monotonic(), or None")
        if window is not None:
            window = check_count("window", window, "an integer >= 1, or None", least=1)
        self._deadline = wave.deadline
        batch = ExpansionBatch(self._scheduler, self._tree, wave.expansions, self._usage, self._priority)
        self._in_flight = [
            each._replace(due=None if window is None or each.due is None else each.due + window)
            for each in self._in_flight
        ] + [_InFlight(batch, place, window) for place in range(len(batch.branches))]
        self._unready = list(self._in_flight)

    def _landed(self) -> list[list[Node] | None]:
        """The nodes of each expansion in flight that has ended; None for one that goes on."""
        ended = [each.ended for each in self._in_flight]
        nodes = [
            each.batch.nodes_of(each.place, self._codec) if is_over else None
            for each, is_over in zip(self._in_flight, ended, strict=True)
        ]
        self._in_flight = [each for each, is_over in zip(self._in_flight, ended, strict=True) if not is_over]
        return nodes

    @property
    def _error(self) -> MarcotError | None:
        """The first error of a branch in flight."""
        batches = dict.fromkeys(each.batch for each in self._in_flight)
        return next((batch.error for batch in batches if batch.error is not None), None)

    def check_deadline(self) -> None:
        """Cut the branches in flight if their deadline has passed."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            for batch in dict.fromkeys(each.batch for each in self._in_flight):
                batch.cut()

    def stats(self, pages_peak: int) -> SearchStats:
        """What the search has cost so far."""
        wall = time.monotonic() - self._started
        usage = dataclasses.asdict(self._usage)
        return SearchStats(
            **usage,
            wall_s=wall,
            tokens_per_s=self._usage.generated_tokens / wall if wall > 0 else 0.0,
            kv_pages_peak=pages_peak,
        )

    def close(self, total: Usage) -> None:
        """Stop all branches and calls, let the search release its nodes and the prompt, and add its work to `total`."""
        if self._call is not None:
            self._calls.cancel(self._call)
        for batch in dict.fromkeys(each.batch for each in self._in_flight):
            batch.cancel()
        with contextlib.suppress(Exception):  # nobody is left to handle a strategy's error on close
            if self._search is not None:
                self._search.close()
        self.task.prompt.release()
        total.add(self._usage)
