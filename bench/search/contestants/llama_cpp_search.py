"""llama.cpp through the low-level interface of llama-cpp-python: a sequence per branch, forked with `seq_cp`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import llama_cpp

from ...peers.draw import draw_rows
from ...peers.llama_cpp_native import LlamaCpp
from ..schedule import Replay, Schedule, Start
from .searcher import Delivered, Searcher, Tally


@dataclass
class _Branch:
    """A running branch: its sequence, and the tokens drawn so far."""

    start: Start
    sequence: int
    token_ids: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)

    @property
    def last(self) -> tuple[int, int]:
        """The last token and its position."""
        prefix = self.start.prefix
        return (self.token_ids or prefix)[-1], len(prefix) + len(self.token_ids) - 1


class LlamaCppSearch(LlamaCpp, Searcher):
    """llama.cpp, driven as a batch of all branches of all questions: a branch that ends is replaced at once.

    Prompts are computed once each, and a fork costs no computation but that of the last token of its prefix.
    """

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads)
        self._schedules: Sequence[Schedule] = ()

    def prepare(self, schedules: Sequence[Schedule]) -> None:
        branches = sum(len(schedule.branches) for schedule in schedules)
        tokens = sum(len(schedule.prompt) + schedule.drawn + len(schedule.branches) for schedule in schedules)
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        self._open_context(tokens, len(schedules) + branches)
        self._schedules = schedules

    def search(self) -> Delivered:
        tally, replay = Tally(), Replay(self._schedules)
        self._sequences: list[dict[int | None, int]] = [{None: number} for number in range(len(self._schedules))]
        self._opened = len(self._schedules)
        for question, schedule in enumerate(self._schedules):
            for position, token in enumerate(schedule.prompt[:-1]):
                self._put(position, token, position, question, output=False)
            self._compute(len(schedule.prompt) - 1)
        running = self._forked(replay.begin())
        while running:
            for row, branch in enumerate(running):
                self._put(row, *branch.last, branch.sequence, output=True)
            drawn = draw_rows(self._run(len(running), len(running)))
            going: list[_Branch] = []
            for branch, token, confidence in zip(running, drawn.ids.tolist(), drawn.confidences.tolist(), strict=True):
                branch.token_ids.append(token)
                branch.confidences.append(confidence)
                if len(branch.token_ids) < branch.start.branch.tokens:
                    going.append(branch)
                else:
                    tally.add(branch.confidences)
                    going += self._forked(replay.finish(branch.start, branch.token_ids))
            running = going
        return tally.delivered()

    def _forked(self, starts: Iterable[Start]) -> list[_Branch]:
        """Open a sequence for each of `starts`, with the tokens of its prefix but the last."""
        branches = []
        for start in starts:
            sequences, sequence = self._sequences[start.question], self._opened
            self._opened += 1
            parent = sequences[start.branch.parent]
            llama_cpp.llama_memory_seq_cp(self._memory, parent, sequence, 0, len(start.prefix) - 1)
            sequences[start.number] = sequence
            branches.append(_Branch(start, sequence))
        return branches

    def _compute(self, rows: int) -> None:
        """Compute a batch without outputs."""
        self._batch.n_tokens = rows
        if error := llama_cpp.llama_decode(self._context, self._batch):
            raise RuntimeError(f"llama_decode: {error}")
