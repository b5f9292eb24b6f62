"""One step through the model: rows in, computed nodes, scores and drawn tokens out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..model import Decoder, KVCache, Step
from .branch import Branch
from .drawing import Drawer
from .job import Job
from .planner import Reader, depth_first, make_plan
from .scoring import Scoring


class Task(NamedTuple):
    """Rows of a step and the job that asked for them.

    Attributes:
        reader: The rows.
        job: Whose work they are.
    """

    reader: Reader
    job: Job


class Stepper:
    """Runs tasks through one decoder and hands every job what it waits for."""

    def __init__(self, decoder: Decoder, cache: KVCache) -> None:
        """Run on `decoder`, with K and V in `cache`."""
        self._decoder = decoder
        self._cache = cache
        self._drawer = Drawer(decoder)
        self._before: list[tuple[Branch, Tensor]] = []

    def run(self, tasks: Sequence[Task]) -> None:
        """One forward pass over the rows of `tasks`. Only when it is done do the nodes count their rows as computed."""
        if not tasks:
            return
        jobs = {id(task.reader): task.job for task in tasks}
        readers = depth_first([task.reader for task in tasks])
        wanted: list[int] = []
        row = 0
        for reader in readers:
            if isinstance(jobs[id(reader)], Scoring):
                wanted.extend(range(row, row + reader.rows))
            elif reader.first + reader.rows == len(reader.leaf.tokens):
                wanted.append(row + reader.rows - 1)
            row += reader.rows
        device = self._decoder.device
        step = Step(
            torch.tensor([t for r in readers for t in r.leaf.tokens[r.first : r.first + r.rows]], device=device),
            torch.tensor([s for r in readers for s in _slots(r)], device=device),
            make_plan(readers, device),
            torch.tensor(wanted, dtype=torch.int64, device=device),
        )
        hidden = self._decoder.forward(step, self._cache)

        taken = 0
        for reader in readers:
            job, node = jobs[id(reader)], reader.leaf
            _count(reader, job)
            if reader.writes:
                node.computed += reader.rows
                node.ever_computed = max(node.ever_computed, node.computed)
            if isinstance(job, Scoring):
                self._take_scores(job, reader, hidden[taken : taken + reader.rows])
                taken += reader.rows
            elif reader.first + reader.rows == len(node.tokens):
                if isinstance(job, Branch) and node is job.node:
                    self._before.append((job, hidden[taken]))
                else:
                    node.hidden = hidden[taken].clone()
                taken += 1

    def _take_scores(self, scoring: Scoring, reader: Reader, hidden: Tensor) -> None:
        targets = torch.tensor(scoring.targets(reader.first, reader.rows), device=hidden.device)
        head = self._decoder.kernels.lm_head_topk(hidden, self._decoder.head, scoring.top_k, targets=targets)
        scoring.take(reader.first, head)

    def draw(self, running: Iterable[Branch]) -> None:
        """Draw a token on every branch that the last pass decoded, and on those of `running` whose fork is ready."""
        starting = [branch for branch in running if not branch.node.tokens and branch.ready]
        remembered = [branch for branch in starting if branch.knows_first]
        first = [(branch, branch.fork.hidden) for branch in starting if not branch.knows_first]
        if remembered:
            self._drawer.from_distributions(remembered)
        rows = self._before + [(branch, hidden) for branch, hidden in first if hidden is not None]
        self._before = []
        if rows:
            self._drawer.from_hidden([branch for branch, _ in rows], torch.stack([hidden for _, hidden in rows]))


def _slots(reader: Reader) -> list[int]:
    return reader.leaf.slots(reader.first, reader.rows) if reader.writes else [-1] * reader.rows


def _count(reader: Reader, job: Job) -> None:
    """Count the rows as recomputed where they were in the cache before, else as prefill unless the job drew them."""
    again = max(min(reader.leaf.ever_computed, reader.first + reader.rows) - reader.first, 0)
    job.usage.recomputed_tokens += again
    if not (isinstance(job, Branch) and reader.leaf is job.node):
        job.usage.prefill_tokens += reader.rows - again
