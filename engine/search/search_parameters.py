"""The parameters of every strategy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from ..checking import check_branches, check_count, check_flag, check_number, refuse_class
from ..errors import InputError
from ..sampling.sampling import Sampling
from ..text.brief import brief_changes
from .actions import Action, resolve_action
from .answers import AnswerParser, AnswerRule, resolve_answer_parser, resolve_answer_rule
from .renamed import RENAMED, RenamingMeta, present_name
from .slow_code import is_slow
from .trace import Trace
from .user_code import name_of, source_hashes
from .values import Value, resolve_value

_SETTINGS = {present: earlier for earlier, present in RENAMED.items()}
"""Renamed parameters: new name -> the old name that result files keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParameters(metaclass=RenamingMeta):
    """The parameters that all strategies share.

    The action, the value and the answer rule are chosen independently of how the tree grows. A search is reproducible:
    it depends only on its question and these parameters, and on time only if `max_seconds` is set.

    Attributes:
        rollouts: Number of chains to finish; None for as many as the other budgets allow. Strategies that draw action
            by action also count every chain that ends in their last wave, so they can finish a few more.
        action: What one node adds: `"step"` (up to a blank line, a step mark or the end of the thought),
            `"mini-step-64"`, `"mini-step-32"` or another number of tokens, `"token"`, or an `Action`. This and the
            next three parameters can also name your own code, as `"module:name"`.
        value: How good a chain is: `"marco"` (mean token confidence), another of `VALUES`, a function of a `Trace`,
            or a `Value`.
        answer_rule: Which answer wins: `"confidence-vote"` (the answer whose chains have the highest sum of values),
            another of `ANSWER_RULES`, or a function. Chains that were cut short count only if all were.
        answer_from: How to find the answer in a chain: `"auto"` (`extract_answer`), `"text"` (the whole text), a
            regular expression whose last match counts, or a function of the text.
        max_rollout_tokens: Maximum drawn tokens of a chain, from the prompt to its end.
        max_depth: Maximum levels of the tree. The rest of a longer chain becomes part of its last node, which is never
            forked.
        sampling: How tokens are drawn. Its `stop` strings end a chain; its `max_tokens` is ignored.
        parallel: Maximum chains in flight at once.
        reflection: When a thought ends, append Marco-o1's reflection and let the model continue; the answer is then
            what it concludes. The reflection sentence itself does not affect the value.
        prune: Give up a chain if the mean confidence of its last tokens is below this quantile of the worst passages of
            the finished chains (DeepConf's early stop, arXiv 2508.15260); 0 never gives up.
        convergence_window: Stop when the answer has been the same for this many chains in a row; None turns this off.
        vote_margin: Stop when the most frequent answer is this many chains ahead of any other; 0 turns this off. Only
            for rules that vote.
        stop_decided: Stop when no further chain could change the answer.
        max_tokens: Maximum tokens drawn for a question; never exceeded. None for no limit.
        max_seconds: Seconds after which running branches are cut and the search ends; chains that are cut count only if
            there are no others. None for no limit.
        max_nodes: Maximum nodes of the tree, including the root; never exceeded. None for no limit.
    """

    name: ClassVar[str]

    rollouts: int | None = 8
    action: str | Action = "step"
    value: str | Value | Callable[[Trace], float] = "marco"
    answer_rule: str | AnswerRule = "confidence-vote"
    answer_from: str | AnswerParser = "auto"
    max_rollout_tokens: int = 1024
    max_depth: int = 64
    sampling: Sampling = Sampling()  # noqa: RUF009  (frozen)
    parallel: int = 4
    reflection: bool = False
    prune: float = 0.0
    convergence_window: int | None = None
    vote_margin: int = 0
    stop_decided: bool = False
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_nodes: int | None = None

    def __post_init__(self) -> None:
        """Check all types and ranges; convert numpy numbers to Python's.

        Raises:
            InputError: A parameter is invalid; the message names it, its value and the allowed values.
        """
        for earlier in RENAMED.keys() & {field.name for field in fields(self)}:  # a user's class may use the old name
            self._set(present_name(earlier, (), stacklevel=3), getattr(self, earlier))
        self.check_least(max_depth=1, max_rollout_tokens=1, parallel=1, vote_margin=0)
        check_branches("parallel", self.parallel)
        for name, least in {"rollouts": 1, "max_tokens": 1, "max_nodes": 2, "convergence_window": 1}.items():
            if getattr(self, name) is not None:
                self._check_count(name, least, " or None")
        resolve_action(self.action)
        resolve_value(self.value)
        rule = resolve_answer_rule(self.answer_rule)
        if self.convergence_window is not None and is_slow(rule):
            raise InputError(
                "convergence_window asks the answer rule after every chain, so the rule must not be slow: "
                "set convergence_window=None, or use a rule that is not slow"
            )
        resolve_answer_parser(self.answer_from)
        refuse_class("sampling", self.sampling, Sampling)
        if not isinstance(self.sampling, Sampling):
            raise InputError(f"sampling={self.sampling!r:.100}: must be a Sampling")
        self._set("prune", check_number("prune", self.prune, "a share from 0 to below 1", least=0, below=1))
        if self.max_seconds is not None:
            self.check_real("max_seconds", "a finite number > 0", above=0)
        self.check_flags("reflection", "stop_decided")
        if self.rollouts is None and self.max_tokens is None and self.max_seconds is None:
            raise InputError("rollouts=None: set max_tokens or max_seconds, so that the search can end")

    def check_least(self, **least: int) -> None:
        """Check that each of these parameters is an integer from the given minimum to `MAX_COUNT`.

        Raises:
            InputError: One is not; the message names the first.
        """
        for name, amount in least.items():
            self._check_count(name, amount)

    def _check_count(self, name: str, least: int, also: str = "") -> None:
        self._set(name, check_count(name, getattr(self, name), f"an integer >= {least}{also}", least=least))

    def check_real(self, name: str, allowed: str, *, least: float = -math.inf, above: float = -math.inf) -> None:
        """Check that the parameter `name` is a finite number, not less than `least` and greater than `above`.

        Raises:
            InputError: It is not; the message says that it must be `allowed`.
        """
        self._set(name, check_number(name, getattr(self, name), allowed, least=least, above=above))

    def check_flags(self, *names: str) -> None:
        """Check that each of these parameters is True or False.

        Raises:
            InputError: One is not; the message names the first.
        """
        for name in names:
            self._set(name, check_flag(name, getattr(self, name)))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return brief_changes(self)

    @property
    def lead(self) -> int:
        """The old name of `vote_margin`, until 0.2."""
        return self.vote_margin

    @property
    def patience(self) -> int | None:
        """The old name of `convergence_window`, until 0.2."""
        return self.convergence_window

    def settings(self) -> dict[str, Any]:
        """All parameters as JSON values: choices by name, and hashes of the user's own code under `"code"`."""
        plain = {_SETTINGS.get(field.name, field.name): _plain(getattr(self, field.name)) for field in fields(self)}
        names = [name_of(type(self)), *(each for each in plain.values() if isinstance(each, str))]
        code = source_hashes(names)
        return {"strategy": self.name} | plain | ({"code": code} if code else {})


_NAMED_SAMPLING = frozenset(
    {
        *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop", "include_stop", "stop_token_ids"),
        *("ignore_eos", "seed", "top_logprobs"),
    }
)
"""Fields of `Sampling` that settings always have. Any other was added later and is left out at its default, so that
results from before can be resumed."""


def _plain(choice: object) -> object:
    """A parameter as a JSON value."""
    if isinstance(choice, Sampling):
        named = {field.name: (getattr(choice, field.name), field.default) for field in fields(choice)}
        del named["max_tokens"]  # a search sets its own
        return {name: value for name, (value, default) in named.items() if name in _NAMED_SAMPLING or value != default}
    if isinstance(choice, Action | Value):
        return choice.name
    if callable(choice):
        return name_of(choice)
    return choice
