"""Rates the chains of one question, finds their answers, and chooses the one that wins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from ..errors import InputError
from .answers import Vote, resolve_answer_parser, resolve_answer_rule
from .protocol import Call, Growing, Progress, Task
from .result import Rollout, TreeNode
from .rollout.reflection import conclusion
from .rollout.token_stats import TokenStats
from .search_parameters import SearchParameters
from .search_tree import SearchNode
from .slow_code import is_async, is_slow, timeout_of
from .trace import Trace
from .user_code import UserCode, name_of
from .values import Judge, rating, resolve_value


class Assessor:
    """Applies the value, the answer parser and the answer rule of a search, and checks what they return."""

    def __init__(self, options: SearchParameters, task: Task, code: UserCode, progress: Callable[[], Progress]) -> None:
        """Assess chains of `task`.

        Args:
            options: Names the value, the parser and the rule.
            task: The question.
            code: Runs the user's code, with errors that name it.
            progress: Returns the progress of the search, to report with calls.

        Raises:
            InputError: The value needs a reference answer, and the question has none.
        """
        self._options = options
        self._task = task
        self._code = code
        self._progress = progress
        self._value = resolve_value(options.value)
        if self._value.needs_reference and task.reference is None:
            raise InputError(
                f"value {self._value.name!r} needs the right answer of every question: pass Question(text, reference), "
                "or a file with questions and answers"
            )
        self._value.prepare()
        self._rule = resolve_answer_rule(options.answer_rule)
        self._parse = resolve_answer_parser(options.answer_from)

    @property
    def columns(self) -> int:
        """How many of the most probable tokens per position the value needs."""
        return self._value.width

    @property
    def vote(self) -> Vote | None:
        """The answer rule, if it is a vote."""
        return self._rule if isinstance(self._rule, Vote) else None

    def rate(self, ends: Sequence[tuple[SearchNode, bool]]) -> Growing[list[float]]:
        """Values of the chains that end in these nodes; each node comes with whether its chain is complete."""
        if not ends:
            return []
        traces = [self.trace(node, complete) for node, complete in ends]
        name = f"value {self._value.name!r}"
        with self._code.calling(name):
            rated = (yield from self._rate_slowly(traces, name)) if self._value.slow else self._value.rate(traces)
            values = [rating(self._value.name, value) for value in rated]
            if len(values) != len(traces):
                raise InputError(f"rated {len(traces)} chains by {len(values)} values")
        return values

    def _rate_slowly(self, traces: list[Trace], name: str) -> Growing[Sequence[float]]:
        value, progress, timeout = self._value, self._progress(), self._value.timeout
        batch = getattr(value, "batch", None)
        if batch is not None:
            call = Call(batch, traces, name, progress, joins=True, timeout=timeout)
        elif isinstance(value, Judge):
            call = Call(value.call, traces, name, progress, timeout=timeout)
        else:  # it may have a `rate` that takes all of them together
            together = Call(lambda items: list(map(value.rate, items)), [traces], name, progress, timeout=timeout)
            [rated] = yield together
            return list(rated)
        return list((yield call))

    def trace(self, node: SearchNode, complete: bool) -> Trace:
        """The chain that ends in `node`, as a value sees it."""
        stats = TokenStats.joined([each.content.stats for each in node.path[1:]]).drawn()
        return Trace(
            self._task.question, self._task.reference, node.text, complete, *stats,
            parse=self.answer,
        )  # fmt: skip

    def answer(self, text: str) -> str:
        """The answer in the text of a chain, or of a part of one."""
        with self._code.calling(f"answer_from {_name(self._options.answer_from)}"):
            answer = self._parse(conclusion(text))
            if not isinstance(answer, str):
                raise InputError(f"found {answer!r}: an answer must be a string, empty if there is none")
        return answer

    def choose(self, rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Growing[Rollout]:
        """The rollout whose answer wins."""
        rule = self._rule
        if not is_slow(rule):
            return self.choose_now(rollouts, tree)

        async def chosen_later(_: object) -> list[Rollout]:
            return [await cast("Awaitable[Rollout]", rule(rollouts, tree))]

        name = f"answer rule {_name(self._options.answer_rule)}"
        function = chosen_later if is_async(rule) else lambda _: [rule(rollouts, tree)]
        with self._code.calling(name):
            [chosen] = yield Call(function, [None], name, self._progress(), timeout=timeout_of(rule))
            return _checked(chosen, rollouts)

    def choose_now(self, rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
        """The same by a rule that is not slow."""
        with self._code.calling(f"answer rule {_name(self._options.answer_rule)}"):
            return _checked(self._rule(rollouts, tree), rollouts)


def _checked(chosen: Rollout, rollouts: Sequence[Rollout]) -> Rollout:
    if chosen not in rollouts:
        raise InputError(f"chose {chosen!r:.100}: must be one of the rollouts that it was given")
    return chosen


def _name(choice: object) -> str:
    """The name of a choice, or of its function, for messages."""
    return repr(choice if isinstance(choice, str) else name_of(choice))
