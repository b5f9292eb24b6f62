"""Runs steps and rounds through the model and gives the results to the requests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels import MAX_TOP_K, NonFiniteError, Plan
from ...model import DecodeGraphs, Decoder, Drawn, KVCache, Patience, StepInput, run_round
from ..plan.planner import ItemPlanner, Planner, Reader
from ..plan.tile_planner import TilePlanner
from ..scoring import Scoring
from .branch import Branch
from .full_rows import FULL_ROWS, sorted_rows
from .request import Request
from .round_rows import RoundRows
from .token_drawer import TokenDrawer

_FEW_ENDED = 8
"""A plan made in advance is used if at most one in this many of its branches has ended."""

_ROUND_S = 0.2
"""Seconds that a round on the CPU may last: deadlines and reports of progress wait for its end."""


class Decoded(NamedTuple):
    """The results of a step, for `StepRunner.draw`.

    Attributes:
        branches: The branches that need a token.
        hidden: `[branches, hidden]`, the hidden states that these tokens are drawn from.
        readers: The step's readers, in the order of its rows.
        step: The step that ran; its tensors are on the host.
    """

    branches: Sequence[Branch]
    hidden: Tensor
    readers: Sequence[Reader]
    step: StepInput


class Flight(NamedTuple):
    """A round that has been launched.

    Attributes:
        readers: One row each, in this order. Rows of finished requests run, but their results are discarded.
        tokens: Tokens that a row draws, unless it ends before or waits for the host.
        wait: Waits for the round to finish and returns what was drawn.
    """

    readers: Sequence[Reader]
    tokens: int
    wait: Callable[[], Drawn]


class Prepared(NamedTuple):
    """A plan that was made while the previous round was still running.

    Attributes:
        readers: In the order of the plan's rows, at the positions that the branches will have reached by then.
        plan: A plan with room for `tokens`.
        tokens: Maximum tokens that a row draws.
    """

    readers: Sequence[Reader]
    plan: Plan
    tokens: int

    def rows(self, running: Collection[int]) -> list[Reader] | None:
        """The readers at the positions that their branches have reached; those of ended branches stay as they are.

        Args:
            running: `Request.order` of all requests that the round would have to include.

        Returns:
            None if the plan does not fit: some of `running` are not in it, or too many of its branches have ended.
        """
        rows: list[Reader] = []
        missing, ended = len(running), 0
        for reader in self.readers:
            request, leaf, first, _, _ = reader
            missing -= request.order in running
            if request.finished:
                ended += 1
                if not leaf.tokens:
                    return None
            elif leaf.computed != first:
                rows.append(reader._replace(first=leaf.computed))
                continue
            rows.append(reader)
        return None if missing or ended * _FEW_ENDED > len(rows) else rows


class StepRunner:
    """Runs readers through one decoder and gives every request its results.

    A request in which an activation or a logit overflows ends with a `NonFiniteError`, which names the part of the
    model where the first non-finite number occurs. The other requests go on.
    """

    def __init__(self, decoder: Decoder, cache: KVCache, graphs: DecodeGraphs | None = None) -> None:
        """Run on `decoder`, with K and V in `cache`; `graphs`, if given, run the rounds."""
        self._decoder = decoder
        self._cache = cache
        self._graphs = graphs
        self._drawer = TokenDrawer(decoder)
        self._planner = _planner(decoder)
        self._rows = RoundRows(decoder.head.out_features)

    @property
    def graphed(self) -> bool:
        """Whether rounds run as CUDA graphs, and so are much faster than steps."""
        return self._graphs is not None and self._graphs.works

    def start(self, branches: Sequence[Branch]) -> None:
        """Draw the first token of branches that are `ready` for it."""
        remembered = [branch for branch in branches if branch.knows_first]
        if remembered:
            self._drawer.from_distributions(remembered)
        others = [branch for branch in branches if not branch.knows_first]
        if others:
            forks = list(dict.fromkeys(branch.fork for branch in others))
            states = torch.stack([fork.hidden for fork in forks if fork.hidden is not None])
            row = {fork: index for index, fork in enumerate(forks)}
            rows = torch.tensor([row[branch.fork] for branch in others], device=states.device)
            self._fail(self._drawer.from_hidden(others, states[rows]))

    # --- a step: prompts, scores, and one token of branches ------------------------------------------------------

    def run(self, readers: Sequence[Reader]) -> Decoded:
        """Run one forward pass over `readers`. Their tokens are marked as computed when it is done."""
        readers, step = self._step(readers)
        hidden = self._decoder.forward(step.to(self._decoder.device), self._cache)
        return self._handed_out(readers, step, hidden)

    def draw(self, decoded: Decoded) -> None:
        """Draw a token on every branch that a step has decoded."""
        branches, hidden, readers, step = decoded
        if branches:
            self._fail(self._drawer.from_hidden(branches, hidden), readers, step)

    def _handed_out(self, readers: Sequence[Reader], step: StepInput, hidden: Tensor) -> Decoded:
        """Count the computed rows; give the hidden states, `[outputs, hidden]`, to the requests that need them."""
        branches: list[Branch] = []
        decoded: list[int] = []
        ends: list[tuple[Reader, int]] = []
        output = 0
        for reader in readers:
            request, leaf, first, rows, _ = reader
            _count(reader)
            _computed(reader)
            outputs = request.outputs(leaf, first, rows)
            if (scoring := request.scoring_at(leaf)) is not None:
                if not self._takes_scores(scoring, reader, hidden[output : output + outputs]):
                    self._fail([scoring], readers, step)
            elif outputs and (branch := request.branch_at(leaf)) is not None:
                branches.append(branch)
                decoded.append(output)
            elif outputs:
                ends.append((reader, output))
            output += outputs
        self._fail([reader.request for reader in _kept(ends, hidden)], readers, step)
        return Decoded(branches, hidden if len(decoded) == len(hidden) else hidden[decoded], readers, step)

    def _takes_scores(self, scoring: Scoring, reader: Reader, hidden: Tensor) -> bool:
        first = reader.first
        if scoring.keep and first + reader.rows == len(reader.leaf.tokens):
            reader.leaf.keep_hidden(hidden[-1].clone())
        if first == 0 and scoring.fork.hidden is not None:  # the state at the fork gives the probability of token 0
            first, hidden = -1, torch.cat([scoring.fork.hidden[None], hidden])
        targets = torch.tensor(scoring.targets(first, len(hidden)), device=hidden.device)
        candidates = min(scoring.top_k, MAX_TOP_K)
        head = self._decoder.kernels.lm_head_topk(hidden, self._decoder.head, candidates, targets=targets)
        if scoring.top_k > candidates:
            parts = [sorted_rows(self._decoder, part) for part in torch.split(hidden, FULL_ROWS)]
            ids = torch.cat([ids[:, : scoring.top_k] for ids, _ in parts])
            logits = torch.cat([logits[:, : scoring.top_k] for _, logits in parts])
            head = head._replace(top_ids=ids, top_logits=logits)
        return scoring.take(first, head)

    # --- a round: up to `tokens` tokens of branches --------------------------------------------------------------

    def prepared(self, readers: Sequence[Reader], tokens: int) -> Prepared:
        """Plan a future round, for branches that will have reached the positions in `readers` by then."""
        readers, plan = self._planner.plan(readers, tokens)
        return Prepared(readers, plan, tokens)

    def launch(self, readers: Sequence[Reader], tokens: int, is_called: Callable[[], bool]) -> Flight:
        """Launch a round in which every branch among `readers` draws up to `tokens` tokens.

        The branches must have pages for these tokens.

        Args:
            readers: One row each: the last token of a branch, or the last token of another node.
            tokens: At most `ROUND_TOKENS`.
            is_called: Asked after each token of a round on the CPU: whether it should end.

        Returns:
            The round; with CUDA graphs, it is still running on the device. Only one may run at a time.
        """
        for reader in readers:
            _count(reader)
        readers, plan = self._planner.plan(readers, tokens)
        patience = Patience(_ROUND_S, _is_over(readers, is_called)) if self._decoder.device.type == "cpu" else None
        return self._launched(readers, plan, tokens, patience)

    def launch_prepared(self, prepared: Prepared, running: Collection[int]) -> Flight | None:
        """Launch the round that was `prepared`; None if it does not fit the `running` requests, see `Prepared.rows`."""
        rows = prepared.rows(running)
        return None if rows is None else self._launched(rows, prepared.plan, prepared.tokens)

    def _launched(self, readers: Sequence[Reader], plan: Plan, tokens: int, patience: Patience | None = None) -> Flight:
        round = self._rows.round(readers, plan, tokens)
        wait = self._graphs.launch(round) if self._graphs is not None and self._graphs.takes(round) else None
        if wait is None:
            drawn = run_round(self._decoder, self._cache, round, patience)
            return Flight(readers, len(drawn.tokens.table[0]), lambda: drawn)
        return Flight(readers, round.tokens, wait)

    def land(self, flight: Flight, running: Container[int]) -> None:
        """Wait for a round, append the drawn tokens to the branches, and draw those that the device could not choose.

        Args:
            flight: The round.
            running: `Request.order` of the requests that still need its results.
        """
        drawn = flight.wait()
        ends: list[tuple[Reader, int]] = []
        waiting: list[Branch] = []
        waiting_rows: list[int] = []
        counts, waits, ids = drawn.counts.tolist(), drawn.waits.tolist(), drawn.tokens.ids.tolist()
        table = drawn.tokens.table
        for row, reader in enumerate(flight.readers):
            request, leaf, _, _, _ = reader
            if request.order not in running:
                continue
            branch = request.branch_at(leaf)
            if branch is None:
                ends.append((reader, row))
                continue
            if count := counts[row]:
                branch.take(ids[row][:count], table[row, :count])
                leaf.count_computed(len(leaf.tokens) - 1)
            if waits[row] and branch.finish_reason is None:
                waiting.append(branch)
                waiting_rows.append(row)
        failed = _kept(ends, drawn.hidden)
        if waiting:
            without = self._drawer.from_hidden(waiting, drawn.hidden[waiting_rows])
            for branch in waiting:
                branch.node.count_computed(len(branch.node.tokens) - 1)
            failed += [Reader(branch, branch.node, branch.node.computed, 1) for branch in without]
        if failed:
            self._fail([reader.request for reader in failed], *self._step(failed))
        for reader, _ in ends:
            _computed(reader)

    # --- both ----------------------------------------------------------------------------------------------------

    def _step(self, readers: Sequence[Reader]) -> tuple[Sequence[Reader], StepInput]:
        """The readers in the order of their rows, and the tensors of their step, on the host."""
        readers, plan = self._planner.plan(readers)
        tokens: list[int] = []
        slots: list[int] = []
        wanted: list[int] = []
        for request, leaf, first, rows, writes in readers:
            tokens.extend(leaf.tokens[first : first + rows])
            slots.extend(leaf.slots(first, rows) if writes else [-1] * rows)
            wanted.extend(range(len(tokens) - request.outputs(leaf, first, rows), len(tokens)))
        token_ids, places, outputs = (
            torch.from_numpy(np.array(column, np.int64)) for column in (tokens, slots, wanted)
        )
        return readers, StepInput(token_ids, places, plan, outputs)

    def _fail(self, requests: Sequence[Request], readers: Sequence[Reader] = (), step: StepInput | None = None) -> None:
        """End requests that have non-finite numbers, with an error that names the part of the model they come from.

        Args:
            requests: The requests. For a request without rows in `step`, the error names the LM head.
            readers: The readers of `step`, in the order of its rows.
            step: The step, which is run again to find the part.
        """
        if not requests:
            return
        parts: dict[int, int] = {}
        if step is not None:
            finite = self._decoder.finite_parts(step.to(self._decoder.device), self._cache).tolist()
            row = 0
            for reader in readers:
                parts[id(reader.request)] = min(finite[row : row + reader.rows])
                row += reader.rows
        dtype = str(self._decoder.dtype).removeprefix("torch.")
        for request in requests:
            part = self._decoder.part_name(parts.get(id(request), -1))
            request.error = NonFiniteError(
                f"{self._decoder.path}: after {request.leaf.end} tokens {part} gives numbers that are not finite: the "
                f"checkpoint is damaged, or its numbers are too large for {dtype}; download or convert it again"
                + ("" if dtype == "float32" else ", or try --dtype float32")
            )


def _planner(decoder: Decoder) -> Planner:
    """The planner for the kind of plan that the op set reads: work items or tiles."""
    config, kernels = decoder.config, decoder.kernels
    tiling = kernels.tiling(config.num_heads, config.num_kv_heads)
    if tiling is None:
        return ItemPlanner()
    return TilePlanner(tiling, config.gqa_group, config.head_dim, deterministic=kernels.deterministic)


def _is_over(readers: Sequence[Reader], is_called: Callable[[], bool]) -> Callable[[NDArray[np.int32]], bool]:
    """`Patience.is_over`: the host is called, or a branch has drawn an end that the device does not check for."""
    branches = [reader.request.branch_at(reader.leaf) for reader in readers]
    read = [(row, branch) for row, branch in enumerate(branches) if branch is not None and branch.ends_on_host]
    return lambda ids: is_called() or any(branch.seems_ended(ids[:, row].tolist()) for row, branch in read)


def _count(reader: Reader) -> None:
    """Count rows in the request's usage: as recomputed if the cache once held them, else as prefill.

    New rows of a branch count as neither.
    """
    request, leaf, first, rows, _ = reader
    again = max(min(leaf.ever_computed, first + rows) - first, 0)
    request.usage.recomputed_tokens += again
    if request.branch_at(leaf) is None:
        request.usage.prefill_tokens += rows - again


def _computed(reader: Reader) -> None:
    """Mark the rows as computed."""
    leaf = reader.leaf
    if reader.writes:
        leaf.count_computed(leaf.computed + reader.rows)


def _kept(ends: Sequence[tuple[Reader, int]], hidden: Tensor) -> list[Reader]:
    """Store the hidden states of the given rows at the nodes that end with them; return readers of non-finite ones."""
    if not ends:
        return []
    states = hidden[[row for _, row in ends]]
    failed: list[Reader] = []
    for (reader, _), state, finite in zip(ends, states, states.isfinite().all(dim=1).tolist(), strict=True):
        if finite:
            reader.leaf.keep_hidden(state.clone())
        elif reader.leaf is reader.request.fork:  # states of nodes above the fork are not needed
            failed.append(reader)
    return failed
