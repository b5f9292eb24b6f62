"""Continuous batching: every step takes one token, or a prefill chunk, from every request that can run."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from ...model import PAGE_SIZE, DecodeGraphs, Decoder, KVCache, Tokenizer
from ..errors import ContextOverflowError, IntegrityError, PoolTooSmallError, RequestCancelledError
from ..kv.node import KVNode
from ..kv.tree import KVTree
from ..plan.planner import Reader
from ..sampling.logit_rules import bad_word_ids, check_vocabulary
from ..sampling.sampling import Sampling
from ..sampling.special_stops import with_special_stops
from ..scoring import Scoring
from ..usage import Usage
from .branch import Branch
from .limits import SchedulerLimits
from .request import Prefill, Request
from .step_runner import Flight, Prepared, StepRunner

_FEW = 8
"""A round may have more than one token only if at most one in this many branches needs the host for every token."""

_MANY = 32
"""With at least this many running requests, the next round is launched even if some requests have just ended; waiting
requests then take their places one round later."""

_GROWTH = 2
"""A round on the CPU draws at most this many times the tokens of the round before: most end early, and pages should not
be reserved for many more tokens than they draw."""

_PRIORITY = 2**40
"""Weight of one priority level against age, in requests: more than are ever submitted, so priority always wins."""


class Scheduler:
    """Runs requests to their end, step by step.

    A request starts to run when its whole path fits in the pool. When a request needs a page and none is free, the tree
    evicts nodes that nobody reads. If there are none, the youngest running request is preempted: it goes back to the
    queue with its tokens, and its K and V are computed again later. A request fails only if it is larger than the whole
    pool.
    """

    def __init__(
        self,
        decoder: Decoder,
        cache: KVCache,
        tree: KVTree,
        tokenizer: Tokenizer | None,
        limits: SchedulerLimits,
        graphs: DecodeGraphs | None = None,
    ) -> None:
        """Make an idle scheduler.

        Args:
            decoder: The model.
            cache: Stores K and V.
            tree: Manages the pages of `cache`.
            tokenizer: The model's tokenizer, if it has one; needed for stop strings and bad words.
            limits: How much one step may hold.
            graphs: CUDA graphs for the rounds, if any.
        """
        self._config = decoder.config
        self._tree = tree
        self._tokenizer = tokenizer
        self._limits = limits
        self._step_runner = StepRunner(decoder, cache, graphs)
        self._eos_token_ids = frozenset(decoder.config.eos_token_ids)
        self._submitted = 0
        self._waiting: list[tuple[int, Request]] = []
        self._running: dict[int, Request] = {}
        self._flight: Flight | None = None
        self._drawn = 1

    # --- requests ----------------------------------------------------------------------------------------------

    def expand(
        self,
        fork: KVNode,
        sampling: Sampling,
        sample: int,
        usage: Usage,
        priority: int = 0,
        *,
        is_over: bool = False,
    ) -> Branch:
        """Queue a branch that continues `fork`.

        Waiting requests start in order of `priority`, highest first, and by age within a priority.

        Args:
            fork: The node to continue.
            sampling: How tokens are chosen, and when the branch ends.
            sample: Index of the sample; part of the random key.
            usage: Where the work is counted.
            priority: Higher runs first.
            is_over: Whether the model has already drawn an end-of-sequence token at the end of `fork`. The branch
                then ends at once, without tokens, with finish reason "eos".

        Raises:
            ContextOverflowError: `fork` fills the model's context, so that no token fits after it.
            PoolTooSmallError: The path is larger than the whole pool.
            SamplingError: A stop string can never occur in a text, or a rule names a token that this model does not
                have.
        """
        sampling, special_stops = with_special_stops(sampling, self._tokenizer)
        check_vocabulary(sampling, self._config.vocab_size)
        bad_words = bad_word_ids(sampling.bad_words, self._tokenizer)
        if not is_over:
            self._check_fits(fork.end + 1)
        room = self._config.max_positions - fork.end
        limit = min(sampling.max_tokens, room)
        node = self._tree.fork(fork)
        branch = Branch(
            fork, node, sampling, sample, usage, limit, self._eos_token_ids, self._tokenizer, special_stops, bad_words
        )
        if is_over:
            branch.finish_reason = "eos"
            self._tree.discard(node)
            return branch
        usage.reused_tokens += sum(node.computed for node in fork.path())
        self._submit(branch, priority)
        return branch

    def prefill(self, node: KVNode, usage: Usage, priority: int = 0) -> Prefill:
        """Queue the computation of `node` and its whole path; raises the same errors as `expand`."""
        self._check_fits(node.end)
        prefill = Prefill(node, usage)
        if prefill.finished:  # nothing to compute, but it counts as a use of the cached pages
            self._tree.pin(node)
            self._tree.unpin(node)
        else:
            self._submit(prefill, priority)
        return prefill

    def score(
        self, fork: KVNode, tokens: Sequence[int], top_k: int, usage: Usage, priority: int = 0, *, keep: bool = False
    ) -> Scoring:
        """Queue the scoring of `tokens` after `fork`, which may be the root; raises the same errors as `expand`.

        With `keep`, their K and V stay in the tree afterwards, unless the tree contains all of these tokens already.
        """
        self._check_fits(fork.end + len(tokens))
        node = self._tree.fork(fork)
        node.extend(tokens)
        scoring = Scoring(fork, node, top_k, usage, keep and not self._tree.has(fork, tokens))
        self._submit(scoring, priority)
        return scoring

    def cancel(self, requests: Iterable[Request], *, keep_tokens: bool = False) -> None:
        """Stop all `requests` that are not finished; afterwards they are, so a second call does nothing.

        Args:
            requests: Any requests of this scheduler.
            keep_tokens: End branches as "cancelled" and keep their tokens, instead of discarding them.
        """
        stopping = {request.order: request for request in requests if not request.finished}
        if not stopping:
            return
        self._waiting = [entry for entry in self._waiting if entry[0] not in stopping]
        heapq.heapify(self._waiting)
        for request in stopping.values():
            branch = request.branch_at(request.leaf)
            if branch is not None:
                branch.finish_reason = "cancelled"
            else:
                request.error = RequestCancelledError("this request was cancelled")
            if request.order in self._running:
                self._leave(request)
            self._retire_node(request, keep_tokens)

    def _check_fits(self, tokens: int) -> None:
        context = self._config.max_positions
        if tokens > context:
            window = " (its sliding window, beyond which marcot does not go)" if self._config.sliding_window else ""
            raise ContextOverflowError(
                f"{tokens} tokens are needed, but the model's context is {context}{window}: shorten the prompt"
            )
        pages = -(-tokens // PAGE_SIZE)
        if pages > self._tree.pool.capacity:
            raise self._too_small(tokens, pages)

    def _too_small(self, tokens: int, pages: int) -> PoolTooSmallError:
        capacity = self._tree.pool.capacity
        return PoolTooSmallError(
            f"one branch of {tokens} tokens needs {pages} KV pages, but the pool has {capacity} "
            f"({capacity * PAGE_SIZE} tokens): enlarge it (--kv-tokens, Engine.load(kv_tokens=...)) "
            f"or shorten the prompt"
        )

    def _outgrown(self, request: Request) -> PoolTooSmallError:
        """The error of a request that cannot get its next page although nothing else runs."""
        room = [(node.first_slot + len(node.tokens), node.borrowed) for node in request.fork.path()]
        if request.node is not None:
            room.append((max(len(request.node.tokens), 1), False))
        pages = sum(-(-slots // PAGE_SIZE) - borrowed for slots, borrowed in room)
        return self._too_small(request.leaf.end, max(pages, self._tree.pool.capacity + 1))

    def _submit(self, request: Request, priority: int) -> None:
        self._submitted += 1
        request.order = self._submitted - priority * _PRIORITY
        heapq.heappush(self._waiting, (request.order, request))

    # --- one step ----------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._waiting or self._running)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place in the batch."""
        return len(self._waiting)

    @property
    def pages_needed(self) -> int:
        """KV pages that the requests in the batch read and write; all other pages are free or can be evicted."""
        paths = {node for request in self._running.values() for node in (*request.fork.path(), request.leaf)}
        return sum(len(node.owned_pages) for node in paths)

    def step(self, is_called: Callable[[], bool] = lambda: False) -> None:
        """Run everything that can run, in one step or round; `Request.finished` says which requests have ended.

        With CUDA graphs, the next round may already be running on the device when this returns.

        Args:
            is_called: Asked after each token of a round on the CPU: whether the caller has other things to do.

        Raises:
            IntegrityError: There is nothing to run, so a caller who waits for a request would wait forever.
        """
        if self.idle:
            raise IntegrityError("the scheduler has nothing to run")
        self._tree.release_dropped()
        try:
            if self._flight is None:
                self._advance(is_called)
            prepared = self._prepared()
            ended = self._landed()
            if self._step_runner.graphed and (not ended or len(self._running) >= _MANY):
                self._advance(is_called, prepared, ahead=True)
        except BaseException:
            self._rewind()
            raise
        finally:
            self._leave_ended()

    def _advance(self, is_called: Callable[[], bool], prepared: Prepared | None = None, *, ahead: bool = False) -> None:
        """Admit requests, then launch a round; or run a step, unless `ahead`, if not all requests only decode."""
        self._admit()
        self._start()
        if prepared is not None:
            self._flight = self._step_runner.launch_prepared(prepared, self._running)
        if self._flight is not None:
            return
        readers, tokens = self._gather()
        if readers and tokens:
            self._flight = self._step_runner.launch(readers, tokens, is_called)
        elif readers and not ahead:
            self._step_runner.draw(self._step_runner.run(readers))
            self._start()

    def _prepared(self) -> Prepared | None:
        """Plan the next round while the device runs the current one; None if a step, not a round, comes next.

        The plan assumes that branches end only at their maximum length. Branches that end earlier stay in the plan.
        """
        flight = self._flight
        if flight is None or not self._step_runner.graphed:
            return None
        self._admit()
        flying = {reader.leaf for reader in flight.readers}
        readers: list[Reader] = []
        tokens = 0
        for order in sorted(self._running):
            request = self._running[order]
            branch = request.branch_at(request.leaf)
            if branch is None or branch.on_host or not branch.ready:
                return None
            drawn = flight.tokens if branch.node in flying else 1
            left = branch.left - drawn
            if left > 0:
                readers.append(Reader(branch, branch.node, len(branch.node.tokens) + drawn - 1, 1))
                tokens = max(tokens, left)
        tokens = min(tokens, self._limits.round_tokens)
        if tokens <= 1 or len(readers) > self._limits.step_tokens:
            return None
        if not self._tree.reserve_ahead([each.leaf for each in readers], [each.first + tokens for each in readers]):
            return None
        return self._step_runner.prepared(readers, tokens)

    def _landed(self) -> int:
        """Process the results of the running round, if any; return how many requests have ended since the last call."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self._step_runner.land(flight, self._running)
            self._drawn = flight.tokens
        return self._leave_ended()

    def _leave_ended(self) -> int:
        """Remove the requests that have ended; return how many."""
        ended = [request for request in self._running.values() if request.finished]
        for request in ended:
            self._leave(request)
            self._retire_node(request, keep_tokens=True)
        return len(ended)

    def _start(self) -> None:
        """Draw the first token of every branch whose fork is ready."""
        branches = (request.branch_at(request.leaf) for request in self._running.values())
        if starting := [branch for branch in branches if branch is not None and branch.starts]:
            self._step_runner.start(starting)

    def _rewind(self) -> None:
        """Clean up after an interrupted step: the next step decodes and draws from each branch's last token again."""
        self._flight = None
        for request in self._running.values():
            branch = request.branch_at(request.leaf)
            if branch is not None and branch.node.tokens:
                branch.node.count_computed(min(branch.node.computed, len(branch.node.tokens) - 1))

    def _admit(self) -> None:
        """Admit waiting requests, oldest first, while their paths fit; one that can never fit ends with an error."""
        while self._waiting and len(self._running) < self._limits.requests:
            request = self._waiting[0][1]
            if self._enter(request):
                heapq.heappop(self._waiting)
            elif self._running:
                break
            else:
                heapq.heappop(self._waiting)
                request.error = self._outgrown(request)
                self._retire_node(request, keep_tokens=False)

    def _enter(self, request: Request) -> bool:
        """Pin the request's path and reserve all its pages; change nothing if they do not fit."""
        self._tree.pin(request.leaf)
        own = 0 if request.node is None else max(len(request.node.tokens), 1)
        fits = all(self._tree.reserve(node, len(node.tokens)) for node in request.fork.path())
        if fits and (request.node is None or self._tree.reserve(request.node, own)):
            self._running[request.order] = request
            return True
        self._tree.unpin(request.leaf)
        return False

    def _gather(self) -> tuple[list[Reader], int]:
        """Choose the rows of this step or round and reserve their pages, preempting if necessary.

        Returns:
            The readers, and how many tokens each branch draws in a round; 0 for a step.
        """
        decoding: list[Branch] = []
        scoring: list[Request] = []
        behind: list[Request] = []
        for order in sorted(self._running):
            request = self._running[order]
            if request.finished:
                continue
            if not request.ready:
                behind.append(request)
            elif (branch := request.branch_at(request.leaf)) is not None:
                decoding.append(branch)
            elif request.node is not None:
                scoring.append(request)
        single = not scoring and all(len(branch.node.tokens) - branch.node.computed == 1 for branch in decoding)
        if single and not behind:
            return self._round(decoding[: self._limits.step_tokens])
        budget = self._limits.step_tokens
        if decoding:
            budget = min(budget, len(decoding) + self._limits.prefill_tokens)
        readers = self._rows([*decoding, *scoring], budget)
        readers += self._chunks(behind, budget - sum(reader.rows for reader in readers))
        # With CUDA graphs, a round of one token is faster than a step, and can also recompute the hidden state of a
        # single token.
        alone = self._step_runner.graphed and single and all(reader.rows == 1 for reader in readers)
        return readers, int(alone)

    def _round(self, branches: Sequence[Branch]) -> tuple[list[Reader], int]:
        """Rows for a round of as many tokens as these branches need and get pages for, at least one."""
        tokens = min(self._limits.round_tokens, max((branch.left for branch in branches), default=0))
        if not self._step_runner.graphed:
            # Whoever reads a branch token by token should not wait for a whole round.
            is_watched = any(branch.is_watched for branch in branches)
            tokens = min(tokens, 1 if is_watched else _GROWTH * self._drawn)
        if sum(branch.on_host for branch in branches) * _FEW > len(branches):
            tokens = min(tokens, 1)
        # The last token drawn needs no slot before the next round. If `reserve_ahead` fails, nothing is left to evict,
        # so shorter rounds are tried, which need fewer pages.
        nodes = [branch.node for branch in branches]
        while tokens > 1 and not self._tree.reserve_ahead(nodes, [len(node.tokens) + tokens - 1 for node in nodes]):
            tokens -= 1
        if tokens <= 1:
            return self._rows(branches, len(branches)), tokens
        return [Reader(branch, branch.node, branch.node.computed, 1) for branch in branches], tokens

    def _rows(self, requests: Sequence[Request], budget: int) -> list[Reader]:
        """Rows for the tokens in the requests' own nodes, in this order, with pages reserved."""
        readers: list[Reader] = []
        for request in requests:
            node = request.leaf
            rows = min(len(node.tokens) - node.computed, budget)
            if rows > 0 and request.order in self._running and self._make_room(request, node):
                readers.append(Reader(request, node, node.computed, rows))
                budget -= rows
        return readers

    def _chunks(self, behind: Sequence[Request], budget: int) -> list[Reader]:
        """Rows for the uncomputed nodes above the requests, each once, topmost first."""
        readers: list[Reader] = []
        prefilled: dict[KVNode, int] = {}  # how many tokens of a node the step will leave uncomputed
        for request in behind:
            if request.order not in self._running:
                continue
            for node in _uncomputed(request.fork):
                if node not in prefilled and budget > 0:
                    left = len(node.tokens) - node.computed
                    rows = min(left, budget) or 1
                    readers.append(
                        Reader(request, node, node.computed if left else len(node.tokens) - 1, rows, left > 0)
                    )
                    prefilled[node] = max(left - rows, 0)
                    budget -= rows
                if prefilled.get(node, 1):
                    break
        return readers

    def _make_room(self, request: Request, node: KVNode) -> bool:
        """Reserve pages for all tokens of `node`, preempting the youngest requests if necessary.

        Returns:
            False if `request` itself was preempted, or ended with an error.
        """
        while not self._tree.reserve(node, len(node.tokens)):
            youngest = self._running[max(self._running)]
            self._leave(youngest)
            if self._running:
                youngest.usage.preemptions += 1
                heapq.heappush(self._waiting, (youngest.order, youngest))
            else:
                request.error = self._outgrown(request)
                self._retire_node(request, keep_tokens=False)
            if youngest is request:
                return False
        return True

    def _leave(self, request: Request) -> None:
        """Stop running a request: what it computed becomes evictable, and the pages of its own tokens are freed."""
        del self._running[request.order]
        self._tree.unpin(request.leaf)
        if not request.finished and request.node is not None and request.node.pages:
            self._tree.drop(request.node)

    def _retire_node(self, request: Request, keep_tokens: bool) -> None:
        """Freeze the growing node of an ended request if it is to be kept; otherwise remove it from the tree."""
        if request.node is None:
            return
        if keep_tokens and request.take_over():
            if request.node.pages:
                self._tree.trim(request.node)
            self._tree.freeze(request.node)
            self._tree.hold(request.node)
        else:
            self._tree.discard(request.node)


def _uncomputed(node: KVNode) -> list[KVNode]:
    """The nodes on the path of `node` with tokens to compute, topmost first; only `node` if there are none."""
    nodes = [node]
    while node.parent is not None and node.parent.computed < len(node.parent.tokens):
        node = node.parent
        nodes.append(node)
    return nodes[::-1]
