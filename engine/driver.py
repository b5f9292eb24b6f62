"""Runs many searches at once over one scheduler."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator

from ..kernels import MarcotError
from .expanding import Expanding
from .kv_tree import KVTree
from .node import Node
from .outcome import Outcome
from .scheduler import Scheduler
from .search.question import Question
from .search.result import SearchResult, SearchStats
from .search.strategy import Progress, Strategy, Task, Wave
from .search.token_ends import with_token_ends
from .token_codec import TokenCodec
from .usage import Usage

PROGRESS_EVERY = 0.5
"""Seconds between two reports on waves that are still running."""


class Driver:
    """Feeds the waves of search generators to the scheduler, and nodes back to the generators.

    At most `concurrency` questions are open at a time, so that any number of them streams through bounded memory.
    """

    def __init__(self, scheduler: Scheduler, tree: KVTree, codec: TokenCodec) -> None:
        """Drive searches on `scheduler`, which works on `tree`."""
        self._scheduler = scheduler
        self._tree = tree
        self._codec = codec

    def run(
        self,
        questions: Iterable[Question],
        open_task: Callable[[int, Question], Task],
        strategy: Strategy,
        concurrency: int,
        total: Usage,
        count: int | None,
    ) -> Iterator[Progress | Outcome]:
        """Search every question; yield progress after each wave and twice a second, and outcomes as they are reached.

        Args:
            questions: Taken one by one, as places become free.
            open_task: Renders the prompt of a question; a `MarcotError` from it becomes the question's outcome.
            strategy: Starts the searches.
            concurrency: Questions that are open at a time.
            total: Where all work is counted, besides each question's own count.
            count: How many questions there are, where that is known.
        """
        pending = enumerate(questions)
        runs: list[_Run] = []
        told = time.monotonic()
        finished = 0

        def seen(progress: Progress) -> Progress:
            return dataclasses.replace(progress, finished=finished, running=len(runs), total=count)

        try:
            while True:
                while len(runs) < concurrency and (entry := next(pending, None)) is not None:
                    index, question = entry
                    try:
                        runs.append(_Run(open_task(index, question), strategy, self._scheduler, self._tree))
                    except MarcotError as error:
                        finished += 1
                        yield Outcome(index, question.text, None, error)
                if not runs:
                    return
                for run in runs:
                    run.check_deadline()
                if not self._scheduler.idle:
                    self._scheduler.step()
                for run in [run for run in runs if run.expanding.finished]:
                    outcome = self._advance(run)
                    if outcome is None:
                        yield seen(run.wave.progress)
                        continue
                    runs.remove(run)
                    run.close(total)
                    finished += 1
                    yield outcome
                if time.monotonic() - told >= PROGRESS_EVERY:
                    told = time.monotonic()
                    yield from [seen(run.progress) for run in runs]
        finally:
            for run in runs:
                run.close(total)

    def _advance(self, run: _Run) -> Outcome | None:
        """Hand a finished wave back to its search; the outcome if that was the last one."""
        task = run.task
        try:
            if run.expanding.error is not None:
                raise run.expanding.error
            run.resume(run.expanding.nodes(self._codec))
        except StopIteration as stop:
            result: SearchResult = stop.value
            stats = run.stats(self._tree.pool.peak)
            tree = with_token_ends(result.tree, task.decode)
            return Outcome(task.index, task.question, dataclasses.replace(result, tree=tree, stats=stats), None)
        except MarcotError as error:
            return Outcome(task.index, task.question, None, error)
        return None


class _Run:
    """One search between two waves."""

    def __init__(self, task: Task, strategy: Strategy, scheduler: Scheduler, tree: KVTree) -> None:
        self.task = task
        self._scheduler = scheduler
        self._tree = tree
        self._usage = Usage()
        self._started = time.monotonic()
        self._search = strategy.search(task)
        self.wave: Wave
        self.expanding: Expanding
        try:
            self._submit(next(self._search))
        except BaseException:
            task.prompt.release()
            raise

    @property
    def progress(self) -> Progress:
        """What the search last said of itself, with the tokens drawn since."""
        return dataclasses.replace(self.wave.progress, generated_tokens=self._usage.generated_tokens)

    def resume(self, nodes: list[list[Node]]) -> None:
        """Send `nodes` to the search and submit its next wave."""
        self._submit(self._search.send(nodes))

    def _submit(self, wave: Wave) -> None:
        self.wave = wave
        self.expanding = Expanding(self._scheduler, self._tree, wave.expansions, self._usage)

    def check_deadline(self) -> None:
        """Cut the wave if its time is over."""
        if self.wave.deadline is not None and time.monotonic() >= self.wave.deadline:
            self.expanding.cut()

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
        """Stop what still runs, let the search release its nodes, release the prompt, and add up the work."""
        self.expanding.cancel()
        self._search.close()
        self.task.prompt.release()
        total.add(self._usage)
