"""A rollout while it is being generated, in sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from ...completion import FinishReason
from ..actions import Action, ActionPrompt, Decode
from ..actions.action import UNFINISHED
from ..search_tree import SearchNode
from .branch_prefix import BranchPrefix
from .node_content import NodeContent
from .token_stats import TokenStats


class RolloutSection(NamedTuple):
    """A part of a rollout whose nodes are of one kind.

    Attributes:
        kind: Kind of its nodes.
        whole: Whether it becomes a single node; otherwise it is cut into actions.
        prefixes: Its given and drawn tokens, in order.
    """

    kind: str
    whole: bool
    prefixes: list[BranchPrefix]

    @property
    def token_ids(self) -> list[int]:
        """Its tokens."""
        return list(chain.from_iterable(prefix.token_ids for prefix in self.prefixes))


@dataclass(slots=True, eq=False)
class PartialRollout:
    """A rollout while it is being generated after the tree node `fork`.

    Attributes:
        fork: The tree node that it continues.
        allowance: Number of tokens that it may still draw.
        sections: The tokens so far.
        prompt: Prompt of the action that is being generated, if actions have prompts.
        spent: Number of tokens drawn for it.
        ended: Why the chain has ended; None while it has not.
        paused: Whether a single action was requested and is finished, but the chain has not ended.
        greedy: Whether it takes the most probable tokens.
        drawing: Tokens that a branch in flight is known to have drawn for it, which are not in `sections` yet.
        reflects_on: The finished rollout that it continues with a reflection, or None.
        extra: Whether it is one more than the strategy has asked for.
    """

    fork: SearchNode
    allowance: int
    sections: list[RolloutSection] = field(default_factory=list)
    prompt: ActionPrompt | None = None
    spent: int = 0
    ended: FinishReason | None = None
    paused: bool = False
    greedy: bool = False
    drawing: int = 0
    reflects_on: PartialRollout | None = None
    extra: bool = False

    @property
    def complete(self) -> bool:
        """Whether the model ended the chain itself."""
        return self.ended in ("eos", "stop")

    @property
    def last(self) -> BranchPrefix:
        """The branch prefix at its end."""
        written = [section.prefixes[-1] for section in self.sections if section.prefixes]
        return written[-1] if written else self.fork.content.origin

    @property
    def kinds(self) -> list[str]:
        """Kinds of all actions of the chain so far; only for actions with prompts."""
        return [*self.fork.kinds, *(section.kind for section in self.sections)]

    @property
    def drawn(self) -> int:
        """Number of drawn tokens of the whole chain so far."""
        return self.fork.drawn + sum(prefix.drawn for section in self.sections for prefix in section.prefixes)

    @property
    def token_ids(self) -> list[int]:
        """All tokens after `fork`."""
        return list(chain.from_iterable(section.token_ids for section in self.sections))

    @property
    def stats(self) -> TokenStats:
        """Log-probabilities and confidences of the drawn tokens."""
        prefixes = [prefix for section in self.sections for prefix in section.prefixes if not prefix.given]
        return TokenStats.joined([TokenStats.of(prefix) for prefix in prefixes])

    def begin(self, kind: str, whole: bool, *prefixes: BranchPrefix) -> None:
        """Begin a new section."""
        self.sections.append(RolloutSection(kind, whole, list(prefixes)))

    def add(self, prefix: BranchPrefix) -> None:
        """Append the drawn tokens of `prefix` to the current section."""
        self.sections[-1].prefixes.append(prefix)
        self.drawing = 0
        self.allowance -= prefix.drawn
        self.spent += prefix.drawn

    def retract(self) -> None:
        """Remove the end-of-sequence token at the end, so that the chain can go on."""
        prefixes = self.sections[-1].prefixes
        branch, end = prefixes.pop()
        if end > 1:
            prefixes.append(BranchPrefix(branch, end - 1))

    def head(self, tokens: int) -> list[RolloutSection]:
        """The sections, cut after the first `tokens` tokens."""
        sections: list[RolloutSection] = []
        for section in self.sections:
            prefixes = []
            for prefix in section.prefixes:
                if length := min(tokens, prefix.end):
                    prefixes.append(BranchPrefix(prefix.branch, length))
                    tokens -= length
            if prefixes:
                sections.append(RolloutSection(section.kind, section.whole, prefixes))
        return sections

    def reflected(self) -> PartialRollout:
        """Add what a finished reflection has drawn to the rollout it reflects on and return that; else itself."""
        partial = self.reflects_on
        if partial is None:
            return self
        if self.ended != "cancelled":
            partial.sections, partial.ended = self.sections, self.ended
        partial.spent += self.spent
        return partial

    def contents(self, action: Action, decode: Decode) -> list[NodeContent]:
        """Cut everything after `fork` into nodes."""
        before = list(chain.from_iterable(node.content.token_ids for node in self.fork.path))
        written = [section.token_ids for section in self.sections]
        text = decode([*before, *chain.from_iterable(written)])
        begin = _settled_length(before, text, decode)
        contents: list[NodeContent] = []
        for section, token_ids in zip(self.sections, written, strict=True):
            if not token_ids:  # nothing was drawn before the chain ended, and no text was given
                continue
            stats = TokenStats.joined([TokenStats.of(prefix) for prefix in section.prefixes])
            is_drawn = ~np.isnan(stats.logprobs)
            ends = [len(token_ids)] if section.whole else action.cut(token_ids, decode, stats.confidences)
            for first, end in pairwise([0, *ends]):
                stop = _end_of_text(token_ids[first:end], text, begin, decode)
                if stop is None:
                    stop = _settled_length([*before, *token_ids[:end]], text, decode)
                content = NodeContent(
                    token_ids=tuple(token_ids[first:end]),
                    text=text[begin:stop],
                    kind=section.kind,
                    drawn=int(np.count_nonzero(is_drawn[first:end])),
                    stats=stats.slice(first, end),
                    origin=_origin(section.prefixes, end),
                )
                contents.append(content)
                begin = stop
            before += token_ids
        return [content for content in contents if content.token_ids]


def _origin(prefixes: Sequence[BranchPrefix], end: int) -> BranchPrefix:
    """The branch prefix that ends after the first `end` tokens of `prefixes`."""
    index = 0
    while end > prefixes[index].end:
        end -= prefixes[index].end
        index += 1
    return BranchPrefix(prefixes[index].branch, end)


def _end_of_text(token_ids: Sequence[int], text: str, begin: int, decode: Decode) -> int | None:
    """Offset in `text` where the text of `token_ids` ends if it begins at `begin`; None if earlier tokens matter."""
    alone = decode(token_ids)
    if UNFINISHED in alone or not alone.strip() or not text.startswith(alone, begin):
        return None
    return begin + len(alone)


def _settled_length(token_ids: Sequence[int], text: str, decode: Decode) -> int:
    """How many characters of `text` are determined by its first tokens, `token_ids`; the last one may be incomplete."""
    settled = decode(token_ids)
    while not text.startswith(settled):
        settled = settled[:-1]
    return len(settled)
