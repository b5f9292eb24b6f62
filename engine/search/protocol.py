"""The protocol between a search and the engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

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
        finished: Questions of the call that have ended. The engine fills in this field and the fields below.
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
    finished: int = 0
    running: int = 1
    total: int | None = None

    def __repr__(self) -> str:
        return brief_record(self)


class Wave(NamedTuple):
    """Expansions that a search waits for before it goes on; they run in one batch with those of other searches.

    Attributes:
        expansions: What to sample. The search receives one list of nodes per expansion, in the same order.
        progress: The progress of the search.
        deadline: The time (`time.monotonic()`) at which running branches are cut (`finish_reason == "cancelled"`), or
            None.
    """

    expansions: list[Expansion]
    progress: Progress
    deadline: float | None = None

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

Growing: TypeAlias = "Generator[Wave, list[list[Node]], T]"
"""A part of a running search: a generator that yields waves, receives their nodes, and returns a value."""

Search: TypeAlias = "Growing[SearchResult]"
"""A running search: a generator that yields waves, receives their nodes, and returns its result without `stats`."""


class Searcher(Protocol):
    """Anything that can search, such as a `Strategy`. It holds only parameters, so one can search many questions."""

    def search(self, task: Task) -> Search:
        """Return a generator that searches `task`; the caller runs it and sends it the nodes of its waves."""
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
