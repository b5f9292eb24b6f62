"""Runs many searches at once over one scheduler."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Iterable

from ...kernels import MarcotError
from ..checking import check_number
from ..kv.tree import KVTree
from ..outcome import Outcome
from ..search.protocol import Progress, Search, Searcher, Task, Wave
from ..search.question import Question
from ..search.result import SearchResult, SearchStats
from ..search.rollout.token_ends import with_token_ends
from ..search.user_code import UserCode
from ..text.token_codec import TokenCodec
from ..usage import Usage
from .expansion_batch import ExpansionBatch
from .scheduler import Scheduler

PROGRESS_EVERY = 0.5
"""Seconds between progress reports on running waves."""


class SearchDriver:
    """Submits the waves of search generators to the scheduler and sends the resulting nodes back to the generators.

    At most `concurrency` questions are open at a time, so that memory stays bounded for any number of questions.
    """

    def __init__(self, scheduler: Scheduler, tree: KVTree, codec: TokenCodec) -> None:
        """Drive searches on `scheduler`, which works on `tree`."""
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
        step of the scheduler.

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
        told = time.monotonic()
        finished = 0

        def seen(event: Progress | Outcome) -> Progress | Outcome:
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
                        yield seen(outcome)
                if not runs:
                    break
                for run in runs:
                    run.check_deadline()
                yield None
                for run in [run for run in runs if run.finished]:
                    outcome = self._advance(run, runs, total)
                    yield seen(run.progress if outcome is None else outcome)
                if time.monotonic() - told >= PROGRESS_EVERY:
                    told = time.monotonic()
                    yield from [seen(run.progress) for run in runs]
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
            return _Run(task, strategy, self._scheduler, self._tree, self._codec, priority)
        except MarcotError as error:
            return Outcome(index, text, None, error)

    def _begin(self, run: _Run, runs: list[_Run], total: Usage) -> Outcome | None:
        """Start a search: add it to `runs`, or return its outcome if it ends at once."""
        runs.append(run)
        return self._advance(run, runs, total)

    def _advance(self, run: _Run, runs: list[_Run], total: Usage) -> Outcome | None:
        """Hand a finished wave back to its search; if the search ends, remove it from `runs` and return its outcome."""
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


class _Run:
    """A running search and its current wave."""

    def __init__(
        self,
        task: Task,
        strategy: Searcher,
        scheduler: Scheduler,
        tree: KVTree,
        codec: TokenCodec,
        priority: int,
    ) -> None:
        self.task = task
        self._priority = priority
        self._strategy = strategy
        self._scheduler = scheduler
        self._tree = tree
        self._codec = codec
        self._code = UserCode(task.question)
        self._usage = Usage()
        self._started = time.monotonic()
        self._search: Search | None = None
        self._wave: Wave | None = None
        self._batch: ExpansionBatch | None = None

    @property
    def finished(self) -> bool:
        """Whether all branches of the wave have ended."""
        return self._batch is not None and self._batch.finished

    @property
    def progress(self) -> Progress:
        """The search's last progress report, with the number of tokens drawn so far."""
        assert self._wave is not None, "progress exists from the first wave on"
        return dataclasses.replace(self._wave.progress, generated_tokens=self._usage.generated_tokens)

    def advance(self) -> SearchResult | None:
        """Start the search or send it the nodes of its wave, then submit its next wave.

        Returns:
            The result if the search has ended, else None.

        Raises:
            MarcotError: A branch or the search has failed. Any other error of the search becomes a `CallableError`.
        """
        if self._batch is not None and self._batch.error is not None:
            raise self._batch.error
        name = f"strategy {getattr(self._strategy, 'name', type(self._strategy).__qualname__)!r}"
        with self._code.running(name):
            try:
                if self._search is None or self._batch is None:
                    self._search = self._strategy.search(self.task)
                    wave = next(self._search)
                else:
                    wave = self._search.send(self._batch.nodes(self._codec))
            except StopIteration as stop:
                if not isinstance(stop.value, SearchResult):
                    raise self._code.error(f"{name} returned {stop.value!r:.100}: must return a SearchResult") from None
                return stop.value
            if not isinstance(wave, Wave) or not isinstance(wave.progress, Progress):
                raise self._code.error(f"{name} yielded {wave!r:.100}: must be a Wave of expansions, with a Progress")
            if wave.deadline is not None:
                check_number("deadline", wave.deadline, "a time of time.monotonic(), or None")
            self._wave = wave
            self._batch = ExpansionBatch(self._scheduler, self._tree, wave.expansions, self._usage, self._priority)
        return None

    def check_deadline(self) -> None:
        """Cut the wave if its deadline has passed."""
        late = self._wave is not None and self._wave.deadline is not None and time.monotonic() >= self._wave.deadline
        if late and self._batch is not None:
            self._batch.cut()

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
        """Stop all branches, let the search release its nodes, release the prompt, and add its work to `total`."""
        if self._batch is not None:
            self._batch.cancel()
        with contextlib.suppress(Exception):  # nobody is left to handle a strategy's error on close
            if self._search is not None:
                self._search.close()
        self.task.prompt.release()
        total.add(self._usage)
