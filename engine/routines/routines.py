"""Every kind of work that an engine does, as a routine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from contextlib import closing
from datetime import date as Date
from functools import partial
from queue import SimpleQueue
from typing import Never, TypeVar

from ..checking import check_integer, shown
from ..completion import Completion
from ..errors import InputError, RequestCancelledError
from ..expansion import Expansion
from ..kv.node import KVNode
from ..kv.tree import KVTree
from ..node import Node
from ..outcome import Outcome
from ..sampling.sampling import Sampling
from ..scheduler.expansion_batch import ExpansionBatch
from ..scheduler.request import Request
from ..scheduler.running_calls import RunningCalls
from ..scheduler.scheduler import Scheduler
from ..scheduler.search_driver import SearchDriver
from ..scoring import Score, Scoring
from ..search.protocol import Progress, Searcher, check_strategy
from ..search.question import QuestionLike, one_or_many
from ..search.result import SearchResult
from ..search.rollout.instruction import AUTO
from ..text.token_codec import TokenCodec
from ..usage import Usage
from .choice import Choice
from .piece import Opened, Piece
from .question_opener import QuestionOpener
from .routine import Routine

T = TypeVar("T")

MAX_CONCURRENCY = 65_536
"""Maximum questions open at a time: each keeps its tree, while at most 256 branches of all of them run at once."""


class Routines:
    """Makes routines, any number of which may run at once; see `Routine`.

    Each has a `priority`: waiting work starts highest priority first, and oldest first among equals.

    Attributes:
        scheduler: Runs the steps between the routines.
        codec: Converts text to token ids and back.
        prompt_tokens: Tokens of all prompts so far.
        cached_tokens: How many of them were in the cache.
        news: Gets a None whenever slow code of a search has ended in another thread; whoever runs routines waits for
            one while the scheduler is idle.
    """

    def __init__(self, scheduler: Scheduler, tree: KVTree, codec: TokenCodec, usage: Usage, context: int) -> None:
        """Use `scheduler` and `tree`, and count work in `usage`; a state has at most `context` tokens."""
        self.scheduler = scheduler
        self.codec = codec
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self._tree = tree
        self._usage = usage
        self._context = context
        self.news: SimpleQueue[None] = SimpleQueue()
        self._driver = SearchDriver(scheduler, tree, codec, RunningCalls(self.news))

    def open(self, tokens: str | Sequence[int], cache_salt: str | None = None) -> Node:
        """Open a node for a prompt, reusing its cached tokens; computes nothing.

        Raises:
            InputError: The prompt is empty, has ids outside the vocabulary, or is text but the model has no tokenizer;
                or the salt is invalid.
        """
        ids = self.codec.encode(tokens, bos=True)
        text = tokens if isinstance(tokens, str) else self.codec.decode(ids)
        node = Node(self._tree, self._tree.insert(self._root(cache_salt), ids), Completion.given(ids, text), self.codec)
        self.prompt_tokens += len(ids)
        self.cached_tokens += _cached(node)
        return node

    def prefill(
        self, prompt: str | Sequence[int], priority: int = 0, cache_salt: str | None = None
    ) -> Routine[Never, Node]:
        """Compute a prompt; see `Engine.prefill`."""
        priority = check_integer("priority", priority, "an integer")
        node = self.open(prompt, cache_salt)
        try:
            yield from self.finished([self.scheduler.prefill(node.kv, self._usage, priority)])
        except BaseException:
            node.release()
            raise
        return node

    def expand(self, expansions: Iterable[Expansion], priority: int = 0) -> Routine[Never, list[list[Node]]]:
        """Continue nodes; see `Engine.expand`."""
        batch = ExpansionBatch(self.scheduler, self._tree, expansions, self._usage, priority)
        try:
            while not batch.finished:
                yield None
            if batch.error is not None:
                raise batch.error
            return batch.nodes(self.codec)
        finally:
            batch.cancel()

    def stream_text(self, expansion: Expansion) -> Routine[str | Node, None]:
        """Yield the text of one sample while it is drawn, and finally its node; see `Engine.stream_text`."""
        node, n, sampling, first = expansion
        pieces = self.generate(node, sampling, n, first, keep=True)
        with closing(pieces):
            for event in pieces:
                if not isinstance(event, Piece):
                    if event is None:
                        yield None
                    continue
                if event.drawn.text:
                    yield event.drawn.text
                if event.node is not None:
                    yield event.node

    def generate(
        self,
        prompt: str | Sequence[int] | Node,
        sampling: Sampling,
        n: int = 1,
        first: int = 0,
        priority: int = 0,
        *,
        keep: bool = False,
        cache_salt: str | None = None,
        is_read: Callable[[], bool] = lambda: True,
    ) -> Routine[Opened | Piece, list[Completion]]:
        """Draw `n` samples that continue a prompt, and yield pieces of them while they are drawn.

        If a `RequestCancelledError` is thrown into it, choices that still run end with the finish reason "cancelled"
        and the tokens drawn so far.

        Args:
            prompt: Text, token ids, or a node.
            sampling: How to sample.
            n: Number of samples.
            first: Index of the first sample.
            priority: See `Routines`.
            keep: Whether the last piece of each choice holds the node after it.
            cache_salt: See `Engine.prefill`; not for a node, which has that of its prompt.
            is_read: Returns whether anybody reads pieces before a choice is over.
        """
        if isinstance(prompt, Node):
            _refuse_salt(cache_salt)
        node = prompt if isinstance(prompt, Node) else self.open(prompt, cache_salt)
        batch: ExpansionBatch | None = None
        try:
            opened = Opened(node.length, _cached(node))
            expansions = [Expansion(node, n, sampling, first)]
            batch = ExpansionBatch(self.scheduler, self._tree, expansions, self._usage, priority)
            yield opened
            choices = [Choice(index, branch, self.codec.tokenizer) for index, branch in enumerate(batch.branches[0])]
            while True:
                if batch.error is not None:
                    raise batch.error
                for choice in choices:
                    if choice.is_new and choice.branch.finished:
                        last = choice.last()
                        yield last._replace(node=self._node(choice)) if keep else last
                    elif choice.is_new and is_read():
                        yield choice.more()
                completions = [choice.completion for choice in choices if choice.completion is not None]
                if len(completions) == len(choices):
                    return completions
                is_watched = is_read()
                for choice in choices:
                    choice.branch.is_watched = is_watched
                try:
                    yield None
                except RequestCancelledError:
                    batch.cut()
        finally:
            if batch is not None:
                batch.cancel()
            if node is not prompt:
                node.release()

    def score(
        self,
        sequences: str | Sequence[int] | Iterable[str | Sequence[int]],
        top_k: int = 5,
        after: Node | None = None,
        priority: int = 0,
        *,
        keep: bool = False,
        cache_salt: str | None = None,
    ) -> Routine[Never, list[Score]]:
        """Score given tokens; see `Engine.score`."""
        priority = check_integer("priority", priority, "an integer")
        limit = self.codec.vocab_size
        top_k = check_integer("top_k", top_k, f"from 1 to {limit}", least=1, most=limit)
        if after is not None and not (isinstance(after, Node) and after.is_of(self._tree)):
            raise InputError(f"after={shown(after)}: must be a Node of this engine, or None")
        if after is not None:
            _refuse_salt(cache_salt)
        encoded = self.codec.encode_each(sequences, bos=after is None)
        fork = self._root(cache_salt) if after is None else after.kv
        scorings: list[Scoring] = []
        try:
            for ids in encoded:
                scorings.append(self.scheduler.score(fork, ids, top_k, self._usage, priority, keep=keep))
            yield from self.finished(scorings)
            return [scoring.score() for scoring in scorings]
        finally:
            self.scheduler.cancel(scorings)
            for scoring in scorings:
                if scoring.kept:
                    self._tree.release(scoring.node)

    def searches(
        self,
        questions: QuestionLike | Iterable[QuestionLike],
        strategy: Searcher,
        *,
        system: str | None = None,
        instruction: str | None = AUTO,
        concurrency: int = 1,
        date: Date | None = None,
        priority: int = 0,
        cache_salt: str | None = None,
    ) -> Routine[Progress | Outcome, None]:
        """Search questions; see `Engine.stream`. Invalid arguments raise at once, not when the routine first runs."""
        concurrency = check_integer("concurrency", concurrency, "at least 1", least=1)
        if concurrency > MAX_CONCURRENCY:
            raise InputError(f"concurrency={shown(concurrency)}: must be at most {MAX_CONCURRENCY}")
        check_strategy(strategy)
        priority = check_integer("priority", priority, "an integer")
        _check_salt(cache_salt)
        open_prompt = partial(self.open, cache_salt=cache_salt)
        opener = QuestionOpener.of(open_prompt, self.codec, self._context, strategy, instruction, system, date)
        asked = one_or_many(questions)
        count = len(asked) if isinstance(asked, Sized) else None
        return self._driver.run(asked, opener, strategy, concurrency, self._usage, count, priority)

    def search(self, searches: Routine[Progress | Outcome, None]) -> Routine[Progress, SearchResult]:
        """Run `searches`, which has a single question: yield its progress, return its result."""
        result: SearchResult | None = None
        with closing(searches):
            for event in searches:
                if not isinstance(event, Outcome):
                    yield event
                elif event.error is not None:
                    raise event.error
                else:
                    result = event.result
        assert result is not None, "there was one question"
        return result

    def call(self, work: Callable[[], T]) -> Routine[Never, T]:
        """Call `work` between two steps and return its result."""
        yield from ()
        return work()

    def finished(self, requests: Sequence[Request]) -> Routine[Never, None]:
        """Wait until all `requests` are finished; raise the first error among them."""
        try:
            while not all(request.finished for request in requests):
                yield None
        except BaseException:
            self.scheduler.cancel(requests)
            raise
        for request in requests:
            if request.error is not None:
                raise request.error

    def _root(self, cache_salt: str | None) -> KVNode:
        _check_salt(cache_salt)
        return self._tree.root_of(cache_salt)

    def _node(self, choice: Choice) -> Node:
        branch, completion = choice.branch, choice.completion
        assert completion is not None, "it is over"
        return Node(self._tree, branch.node if branch.kept else branch.fork, completion, self.codec)


def _check_salt(cache_salt: object) -> None:
    if cache_salt is not None and not (isinstance(cache_salt, str) and cache_salt):
        raise InputError(f"cache_salt={shown(cache_salt)}: must be a text that is not empty, or None")


def _refuse_salt(cache_salt: str | None) -> None:
    if cache_salt is not None:
        raise InputError("cache_salt: what follows a node has the salt of its prompt; leave it out")


def _cached(node: Node) -> int:
    return sum(each.computed for each in node.kv.path())
