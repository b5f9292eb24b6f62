"""One question's Monte Carlo tree search while it runs."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from ..expansion import Expansion
from .action import Action
from .answer import extract_answer
from .answer_rule import ANSWER_RULES, agreement
from .chain import Chain
from .piece import Piece
from .reflection import REFLECTION, conclusion, reflection_after, thought_length
from .result import Rollout, SearchResult
from .search_tree import SearchNode, SearchTree
from .strategy import Progress, Search, Task, Wave
from .stretch import Stretch

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ..node import Node
    from .mcts import MCTS

_Chains: TypeAlias = "Generator[Wave, list[list[Node]], list[Chain]]"
_Stretches: TypeAlias = "Generator[Wave, list[list[Node]], list[Stretch]]"


class TreeSearch:
    """Grows a tree wave by wave: select forks, sample a rollout from each, insert them and back up their rewards.

    The rollouts of a wave are selected before any of them is known and inserted in the order of their selection, so
    the tree does not depend on which of them ends first.
    """

    def __init__(self, options: MCTS, task: Task, held: ExitStack) -> None:
        """Prepare a search of `task`; nodes that it takes from the engine are released when `held` closes."""
        self._options = options
        self._task = task
        self._held = held
        self._action = Action.named(options.action)
        self._tree = SearchTree(
            Piece((), "", 0, 0.0, Stretch.whole(task.prompt)),
            width=options.width,
            exploration=options.exploration,
            max_depth=options.max_depth,
        )
        self._rollouts: list[Rollout] = []
        self._cancelled: list[Chain] = []
        self._generated = 0
        self._samples: Counter[tuple[int, ...]] = Counter()
        self._deadline = None if options.max_seconds is None else time.monotonic() + options.max_seconds

    def run(self) -> Search:
        """Search until a budget is spent; the generator of `Strategy.search`."""
        while not self._finished():
            chains = yield from self._roll_out(self._select())
            if self._options.reflection:
                chains = yield from self._reflect(chains)
            self._grow(chains)
        if not self._rollouts:
            self._insert(max(self._cancelled, key=lambda chain: chain.drawn), self._nodes_left())
        return self._result()

    def _finished(self) -> bool:
        late = self._deadline is not None and bool(self._rollouts) and time.monotonic() >= self._deadline
        return (
            late
            or bool(self._cancelled)
            or len(self._rollouts) >= self._options.rollouts
            or self._tokens_left() < 1
            or self._nodes_left() < 1
        )

    def _tokens_left(self) -> int:
        budget = self._options.max_tokens
        return sys.maxsize if budget is None else budget - self._generated

    def _nodes_left(self) -> int:
        budget = self._options.max_nodes
        return sys.maxsize if budget is None else budget - len(self._tree.nodes)

    def _select(self) -> list[tuple[SearchNode, int]]:
        """Forks of the next wave with the tokens that each may draw; together they fit into the budget."""
        options = self._options
        size = min(options.parallel, options.rollouts - len(self._rollouts), self._nodes_left())
        tokens = self._tokens_left()
        forks: list[tuple[SearchNode, int]] = []
        # A rollout that the token budget may cut short is worth least: it waits until it is the only one.
        while len(forks) < size and (not forks or tokens >= options.max_rollout_tokens):
            fork = self._tree.select()
            if fork is None:
                break
            limit = min(tokens, options.max_rollout_tokens - fork.drawn)
            tokens -= limit
            forks.append((fork, limit))
        return forks

    def _roll_out(self, forks: Sequence[tuple[SearchNode, int]]) -> _Chains:
        """Sample a rollout from each fork."""
        drawn = yield from self._sample([(fork.piece.origin, limit) for fork, limit in forks])
        return [Chain(fork, (stretch,)) for (fork, _), stretch in zip(forks, drawn, strict=True)]

    def _reflect(self, chains: Sequence[Chain]) -> _Chains:
        """Append a reflection to the thoughts that have ended, and let them go on from there."""
        tokens = self._tokens_left()
        doubts: dict[int, Chain] = {}
        starts: list[tuple[Stretch, int]] = []
        for position, chain in enumerate(chains):
            if not chain.complete or _has_reflected(chain.fork):
                continue
            doubt = self._doubt(chain)
            room = self._task.context - doubt.stretches[-1].branch.length
            limit = min(tokens, room, self._options.max_rollout_tokens - doubt.drawn)
            if limit >= 1:
                tokens -= limit
                doubts[position] = doubt
                starts.append((doubt.stretches[-1], limit))
        reflected = list(chains)
        if doubts:
            drawn = yield from self._sample(starts)
            for (position, doubt), stretch in zip(doubts.items(), drawn, strict=True):
                if stretch.branch.finish_reason != "cancelled":
                    reflected[position] = replace(doubt, stretches=(*doubt.stretches, stretch))
        return reflected

    def _doubt(self, chain: Chain) -> Chain:
        """The thought of a chain and the reflection after it."""
        [written] = chain.stretches
        length = thought_length(written.token_ids, chain.finish_reason == "eos", self._task.decode)
        thought = Stretch(written.branch, length)
        before = thought if length else chain.fork.piece.origin
        reflection = before.state(self._held).append(reflection_after(self._task.decode(before.token_ids)))
        doubt = Stretch.whole(self._held.enter_context(reflection))
        return Chain(chain.fork, (thought, doubt) if length else (doubt,))

    def _sample(self, starts: Sequence[tuple[Stretch, int]]) -> _Stretches:
        """One wave: a new continuation of at most so many tokens from each start."""
        expansions = []
        for start, limit in starts:
            state = start.state(self._held)
            key = tuple(state.path_ids)
            sampling = replace(self._options.sampling, max_tokens=limit)
            expansions.append(Expansion(state, 1, sampling, self._samples[key]))
            self._samples[key] += 1
        answers = yield Wave(expansions, self._progress(), self._deadline)
        drawn = [Stretch.whole(self._held.enter_context(branch)) for [branch] in answers]
        self._generated += sum(stretch.drawn for stretch in drawn)
        return drawn

    def _grow(self, chains: Sequence[Chain]) -> None:
        """Put a wave's rollouts into the tree; each leaves room for a node of every later one."""
        for chain in chains:
            self._tree.settle(chain.fork)
        for later, chain in zip(reversed(range(len(chains))), chains, strict=True):
            if chain.finish_reason == "cancelled":
                self._cancelled.append(chain)
            else:
                self._insert(chain, self._nodes_left() - later)

    def _insert(self, chain: Chain, max_new: int) -> None:
        leaf = self._tree.insert(chain.fork, chain.pieces(self._action, self._task.decode), max_new)
        value = leaf.confidence / leaf.drawn if leaf.drawn else 0.0
        self._tree.backup(leaf, value)
        text = "".join(node.piece.text for node in reversed(list(leaf.chain)))
        answer = extract_answer(conclusion(text))
        self._rollouts.append(Rollout(text, value, answer, leaf.drawn, chain.finish_reason, leaf.id))

    def _progress(self) -> Progress:
        best = max(self._rollouts, key=lambda rollout: rollout.value, default=None)
        return Progress(
            index=self._task.index,
            rollouts=len(self._rollouts),
            nodes=len(self._tree.nodes),
            generated_tokens=self._generated,
            best_value=best.value if best else math.nan,
            best_answer=best.answer if best else "",
        )

    def _result(self) -> SearchResult:
        tree = self._tree.export()
        chosen = ANSWER_RULES[self._options.answer_rule](self._rollouts, tree)
        return SearchResult(
            question=self._task.question,
            answer=chosen.answer,
            text=chosen.text,
            value=chosen.value,
            confidence=agreement(chosen, self._rollouts),
            rollouts=tuple(self._rollouts),
            tree=tree,
            best_path=tuple(node.id for node in reversed(list(self._tree.nodes[chosen.leaf].chain))),
        )


def _has_reflected(fork: SearchNode) -> bool:
    return any(REFLECTION in node.piece.text for node in fork.chain)
