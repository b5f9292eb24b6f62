"""The protocol between a search and the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from ..errors import InputError
from ..expansion import Expansion
from ..text.brief import brief_record
from .result import SearchResult

if TYPE_CHECKING:
    from ..node import Node


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one search.

    Attributes:
        index: Position of the question in its call.
        rollouts: Finished rollouts.
        nodes: Nodes of the search tree.
        generated_tokens: Tokens drawn for this question so far.
        best_value: Value of the best rollout so far; None before the first.
        best_answer: Its answer, or an empty string.
        votes: How many rollouts gave that answer, and how many gave any answer.
        waiting_for: The user's own code that the search waits for, and since when, such as `"value 'mine:verify', 12
            s"`; empty if it waits for the model.
        finished: Questions of the call that have ended. The engine fills in this field, those below and `waiting_for`.
        running: Questions that are being searched, including this one.
        total: Questions of the call, if known in advance.
    """

    index: int
    rollouts: int
    nodes: int
    generated_tokens: int
    best_value: float | None
    best_answer: str
    votes: tuple[int, int] = (0, 0)
    waiting_for: str = ""
    finished: int = 0
    running: int = 1
    total: int | None = None

    def __repr__(self) -> str:
        return brief_record(self)


class Wave(NamedTuple):
    """Expansions to run; they share a batch with those of other searches.

    Without a `window`, the search resumes when all branches have ended, and receives one list of nodes per expansion,
    in the same order. With a `window`, it resumes when each branch has ended or has drawn that many more tokens. It
    then receives the lists of the expansions that have ended, and None in place of those that go on: they are in flight
    beside the expansions of the next wave, and are reported first then. What the search receives depends only on the
    drawn tokens, not on the batch or on time.

    Attributes:
        expansions: What to sample.
        progress: The progress of the search.
        deadline: The time (`time.monotonic()`) at which running branches are cut (`finish_reason == "cancelled"`), or
            None.
        window: Tokens, at least 1, or None.
    """

    expansions: list[Expansion]
    progress: Progress
    deadline: float | None = None
    window: int | None = None

    def __repr__(self) -> str:
        return brief_record(self)


class Call(NamedTuple):
    """A call of slow user code, which runs in other threads while other searches go on.

    The search receives the list of results. An error is raised in the search, where it yielded.

    Attributes:
        function: Takes a list of items and returns as many results, or an awaitable of them, which runs in an event
            loop.
        items: What to call it with.
        name: What is called, for messages.
        progress: The progress of the search.
        joins: Whether the function takes items of several searches at once, and one call at a time. If not, each item
            gets its own call, all at the same time.
        timeout: Seconds that a call may take from its start before the search gets an error; None for no limit.
    """

    function: Callable[[list[Any]], Sequence[Any] | Awaitable[Sequence[Any]]]
    items: list[Any]
    name: str
    progress: Progress
    joins: bool = False
    timeout: float | None = None

    def __repr__(self) -> str:
        return brief_record(self)


@dataclass(frozen=True, slots=True)
class Task:
    """One question, ready to be searched.

    Attributes:
        index: Position of the question in its call.
        question: The question as the user wrote it.
        prompt: The node after the rendered prompt; the engine releases it.
        context: The model's context length, in tokens.
        decode: Converts token ids to text, without special tokens (`Tokenizer.decode`).
        reference: The right answer, if known.
        instruction: The text added to the question in the prompt.
    """

    index: int
    question: str
    prompt: Node
    context: int
    decode: Callable[[Sequence[int]], str]
    reference: str | None = None
    instruction: str = ""

    def __repr__(self) -> str:
        return brief_record(self, "index", "question", "reference", "prompt", "context")


T = TypeVar("T")

Growing: TypeAlias = "Generator[Wave | Call, Any, T]"
"""A part of a running search: a generator that yields waves and calls, receives their results, and returns a value."""

Search: TypeAlias = "Growing[SearchResult]"
"""A running search, which returns its result without `stats`."""


class Searcher(Protocol):
    """Anything that can search, such as a `Strategy`. It holds only parameters, so one can search many questions."""

    def search(self, task: Task) -> Search:
        """Return a generator that searches `task`; the caller runs it and answers its waves and calls."""
        ...


def check_strategy(strategy: object) -> None:
    """Check that `strategy` is a `Searcher`.

    Raises:
        InputError: It is not; the message says what to write.
    """
    if isinstance(strategy, type):
        raise InputError(f"strategy={strategy.__name__}: this is a class, not an instance; write {strategy.__name__}()")
    if not callable(getattr(strategy, "search", None)):
        raise InputError(f"strategy={strategy!r:.100}: must be a strategy such as MCTS(rollouts=8)")
