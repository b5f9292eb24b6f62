"""Action trees as in Marco-o1 v2 (arXiv 2503.01461): kinds of actions with prompts, and which may follow which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...checking import check_branches, check_count, check_integer, check_texts
from ...errors import InputError
from .action import Action, ActionPrompt, Decode

Followers = tuple[tuple[str, int], ...]
"""Kinds that may follow, and how many children of each kind a state gets."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of action.

    Attributes:
        name: A name such as `"double-check"`; it becomes the `kind` of nodes.
        openings: Prompts, which children of this kind use in turn. An empty text adds no prompt.
        tags: Texts before and after the action, such as `("<check>", "</check>")`; None for plain text.
        close: Texts that end the action, in addition to its closing tag.
        followers: Kinds that may come next; a kind without followers ends the chain.
        max_tokens: Maximum tokens to draw for an action.
    """

    name: str
    openings: tuple[str, ...] = ("",)
    tags: tuple[str, str] | None = None
    close: tuple[str, ...] = ()
    followers: Followers = ()
    max_tokens: int = 256

    def __post_init__(self) -> None:
        """Check texts and length; a single text becomes a tuple.

        Raises:
            InputError: Names what is wrong.
        """
        where = f"kind {self.name!r}: "
        openings = check_texts(where + "openings", self.openings, may_be_empty=True) or ("",)
        object.__setattr__(self, "openings", openings)
        object.__setattr__(self, "close", check_texts(where + "close", self.close))
        if self.tags is not None and len(check_texts(where + "tags", self.tags, may_be_empty=True)) != 2:
            raise InputError(f"{where}tags={self.tags!r}: must be two texts, before and after")
        check_count(where + "max_tokens", self.max_tokens, "an integer >= 1", least=1)

    @property
    def final(self) -> bool:
        """Whether it ends the chain."""
        return not self.followers

    def prompt(self, number: int) -> ActionPrompt:
        """The prompt of the `number`-th action of this kind at a state."""
        text = self.openings[number % len(self.openings)]
        if self.tags is None:
            return ActionPrompt(self.name, text, self.close, self.max_tokens, self.final)
        before, after = self.tags
        return ActionPrompt(self.name, f"{before}\n{text}", (*self.close, after), self.max_tokens, self.final)


class GuidedActions(Action):
    """An action tree: which kinds of actions may come first, and which may follow which.

    A node gets the declared number of children of each kind that may follow it. So a strategy compares not only
    different continuations but also different instructions to the model, and follows those that work for the question.
    """

    def __init__(
        self,
        name: str,
        kinds: Sequence[Kind],
        start: Followers,
        *,
        longest: int = 8,
        back_off: int = 0,
        retry: str | None = None,
    ) -> None:
        """Declare a tree.

        Args:
            name: The tree's name in options and results.
            kinds: All kinds.
            start: Kinds that may come first.
            longest: Maximum actions of a chain; the last one is of a final kind, if one may follow there.
            back_off: After a wrong answer, how many actions to take back before `retry`; 0 for none.
            retry: Kind that goes on from there, such as a reflection.

        Raises:
            InputError: A kind is declared twice or not at all, a count is not positive, or no chain could end.
        """
        self._name = name
        self._kinds: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in kinds})
        self._start = start
        self._longest = check_count(f"action {name}: longest", longest, "an integer >= 1", least=1)
        back_off = check_count(f"action {name}: back_off", back_off, "an integer >= 0", least=0)
        self._backtrack = None
        for where, followers in [("start", start), *((kind.name, kind.followers) for kind in kinds)]:
            for follower, number in followers:
                if follower not in self._kinds:
                    raise InputError(f"action {name}: {where} is followed by {follower!r}, which is not declared")
                label = f"action {name}: {where}: children {follower!r}"
                check_branches(label, check_integer(label, number, "an integer >= 1", least=1))
        if len(self._kinds) < len(kinds) or not start:
            raise InputError(f"action {name}: declare every kind once, and name at least one under start")
        if not any(kind.final for kind in kinds):
            raise InputError(f"action {name}: at least one kind must have no followers, so that chains can end")
        if back_off > 0:
            if not isinstance(retry, str) or retry not in self._kinds:
                raise InputError(f"action {name}: back_off={back_off} needs a declared kind as retry, not {retry!r}")
            self._backtrack = back_off, self._kinds[retry].prompt(0)

    @property
    def name(self) -> str:
        """The name of the tree."""
        return self._name

    @property
    def guided(self) -> bool:
        """True: its actions have prompts."""
        return True

    def cut(self, token_ids: Sequence[int], decode: Decode, confidences: NDArray[np.float32]) -> list[int]:
        """Return one action with all tokens, because actions are drawn one by one."""
        return [len(token_ids)] if token_ids else []

    def prompt(self, kinds: Sequence[str], sample: int) -> ActionPrompt:
        """See `Action.prompt`. The first follower differs from level to level, so that rollouts are not all alike."""
        followers = self._followers(kinds)
        number = sample + len(kinds)
        places = [name for name, count in followers for _ in range(count)]
        place = number % len(places)
        of_its_kind = places[:place].count(places[place])
        return self._kinds[places[place]].prompt(of_its_kind + sample // len(places))

    def width(self, kinds: Sequence[str]) -> int:
        """The number of children of all kinds that may follow."""
        return sum(count for _, count in self._followers(kinds))

    def backtrack(self) -> tuple[int, ActionPrompt] | None:
        """See `Action.backtrack`."""
        return self._backtrack

    def _followers(self, kinds: Sequence[str]) -> Followers:
        last = self._kinds.get(kinds[-1]) if kinds else None
        followers = (last.followers if last else self._start) or self._start
        if len(kinds) >= self._longest - 1:
            final = tuple((name, count) for name, count in followers if self._kinds[name].final)
            return final or tuple((kind.name, 1) for kind in self._kinds.values() if kind.final)
        return followers
