"""One step through the model: rows in, computed nodes, scores and drawn tokens out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..kernels import NonFiniteError
from ..model import Decoded, DecodeGraphs, Decoder, KVCache, Step
from .branch import Branch
from .drawing import Drawer, Request
from .job import Job
from .kv_node import KVNode
from .planner import ItemPlanner, Planner, Reader
from .scoring import Scoring
from .tile_planner import TilePlanner


class Stepper:
    """Runs readers through one decoder and hands every job what it waits for.

    A job whose numbers are not finite, as they are too large for their dtype, gets a `NonFiniteError` instead, which
    names the part of the model where they begin; its neighbours go on.
    """

    def __init__(self, decoder: Decoder, cache: KVCache, graphs: DecodeGraphs | None = None) -> None:
        """Run on `decoder`, with K and V in `cache`; steps that only decode are run by `graphs`, if there are any."""
        self._decoder = decoder
        self._cache = cache
        self._graphs = graphs
        self._drawer = Drawer(decoder)
        self._planner = _planner(decoder, cache)
        self._decoded: list[Branch] = []
        self._hidden: list[Tensor] = []
        self._head: tuple[Request, Decoded] | None = None
        self._last: tuple[Sequence[Reader], Step] | None = None

    def run(self, readers: Sequence[Reader]) -> None:
        """One forward pass over `readers`. Only when it is done do the nodes count their rows as computed."""
        if not readers:
            return
        readers, plan = self._planner.plan(readers)
        tokens: list[int] = []
        slots: list[int] = []
        wanted: list[int] = []
        for job, leaf, first, rows, writes in readers:
            tokens.extend(leaf.tokens[first : first + rows])
            slots.extend(leaf.slots(first, rows) if writes else [-1] * rows)
            if isinstance(job, Scoring):
                wanted.extend(range(len(tokens) - rows, len(tokens)))
            elif first + rows == len(leaf.tokens):
                wanted.append(len(tokens) - 1)
        token_ids, places, outputs = (
            torch.from_numpy(np.array(column, np.int64)) for column in (tokens, slots, wanted)
        )
        step = Step(token_ids, places, plan, outputs)
        self._last = (readers, step)
        self._hand_out(readers, self._computed(readers, step))

    def _computed(self, readers: Sequence[Reader], step: Step) -> Tensor:
        """The wanted hidden states of `step`, whose tensors are on the host."""
        if self._graphs is not None and self._graphs.takes(step):
            branches = [reader.job for reader in readers if isinstance(reader.job, Branch) and reader.decodes]
            if len(branches) == len(readers):
                request = self._drawer.request(branches)
                decoded = self._graphs.run(step, request.draw, request.width)
                if decoded is not None:
                    self._head = (request, decoded)
                    return decoded.hidden
        return self._decoder.forward(step.to(self._decoder.device), self._cache)

    def _hand_out(self, readers: Sequence[Reader], hidden: Tensor) -> None:
        """Count what was computed; give the wanted rows' hidden states, `[outputs, hidden]`, to whom they belong."""
        decoded: list[int] = []
        ends: list[tuple[Job, KVNode, int]] = []
        output = 0
        for reader in readers:
            job, leaf, first, rows, writes = reader
            _count(reader)
            if writes:
                leaf.computed += rows
                leaf.ever_computed = max(leaf.ever_computed, leaf.computed)
            if isinstance(job, Scoring):
                self._take_scores(job, reader, hidden[output : output + rows])
                output += rows
            elif first + rows == len(leaf.tokens):
                if isinstance(job, Branch) and leaf is job.node:
                    self._decoded.append(job)
                    decoded.append(output)
                else:
                    ends.append((job, leaf, output))
                output += 1
        self._keep(ends, hidden)
        if decoded:
            self._hidden.append(hidden if len(decoded) == len(hidden) else hidden[decoded])

    def _keep(self, ends: Sequence[tuple[Job, KVNode, int]], hidden: Tensor) -> None:
        """Leave the hidden states of the given rows at the nodes that end with them."""
        if not ends:
            return
        states = hidden[[output for *_, output in ends]]
        finite = states.isfinite().all(dim=1).tolist()
        failed: list[Job] = []
        for (job, leaf, _), state, known in zip(ends, states, finite, strict=True):
            if known:
                leaf.hidden = state.clone()
            elif leaf is job.fork:  # further up nobody needs it
                failed.append(job)
        self._fail(failed)

    def _take_scores(self, scoring: Scoring, reader: Reader, hidden: Tensor) -> None:
        targets = torch.tensor(scoring.targets(reader.first, reader.rows), device=hidden.device)
        head = self._decoder.kernels.lm_head_topk(hidden, self._decoder.head, scoring.top_k, targets=targets)
        if not scoring.take(reader.first, head):
            self._fail([scoring])

    def _fail(self, jobs: Iterable[Job]) -> None:
        """End jobs whose numbers are not finite, with the part of the model that the last pass loses them in."""
        parts: dict[int, int] = {}
        if not (failed := list(jobs)):
            return
        if self._last is not None:
            readers, step = self._last
            finite = self._decoder.finite_parts(step.to(self._decoder.device), self._cache).tolist()
            row = 0
            for reader in readers:
                parts[id(reader.job)] = min(finite[row : row + reader.rows])
                row += reader.rows
        dtype = str(self._decoder.dtype).removeprefix("torch.")
        for job in failed:
            part = self._decoder.part_name(parts.get(id(job), -1))
            job.error = NonFiniteError(
                f"{self._decoder.path}: after {job.leaf.end} tokens {part} gives numbers that are not finite: the "
                f"checkpoint is damaged, or its numbers are too large for {dtype}; download or convert it again"
                + ("" if dtype == "float32" else ", or try --dtype float32")
            )

    def forget(self) -> None:
        """Let go of what a pass has left for `draw`, as nobody will draw from it."""
        self._decoded, self._hidden, self._head, self._last = [], [], None, None

    def draw(self, running: Iterable[Branch]) -> None:
        """Draw a token on every branch that the last pass decoded, and on those of `running` whose fork is ready."""
        starting = [branch for branch in running if not branch.node.tokens and branch.ready and not branch.finished]
        remembered = [branch for branch in starting if branch.knows_first]
        first = [(branch, branch.fork.hidden) for branch in starting if not branch.knows_first]
        if remembered:
            self._drawer.from_distributions(remembered)
        branches, blocks = self._decoded, self._hidden
        if self._head is not None:
            request, decoded = self._head
            self._fail(self._drawer.from_head(request, *decoded))
            branches, blocks = [], []
        for branch, hidden in first:
            if hidden is not None:
                branches.append(branch)
                blocks.append(hidden[None])
        if branches:
            self._fail(self._drawer.from_hidden(branches, blocks[0] if len(blocks) == 1 else torch.cat(blocks)))
        self.forget()


def _planner(decoder: Decoder, cache: KVCache) -> Planner:
    """Of the kind that the kernels read plans of."""
    config, kernels = decoder.config, decoder.kernels
    tiling = kernels.tiling(config.num_heads, config.num_kv_heads)
    if tiling is None:
        return ItemPlanner()
    head = (config.gqa_group, config.head_dim, cache.k.dtype.itemsize)
    return TilePlanner(tiling, *head, deterministic=kernels.deterministic)


def _count(reader: Reader) -> None:
    """Count the rows as recomputed where they were in the cache before, else as prefill unless the job drew them."""
    job, leaf, first, rows, _ = reader
    again = max(min(leaf.ever_computed, first + rows) - first, 0)
    job.usage.recomputed_tokens += again
    if not (isinstance(job, Branch) and leaf is job.node):
        job.usage.prefill_tokens += rows - again
