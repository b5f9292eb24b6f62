"""The running search of one question, whose tree a strategy grows."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from .actions import CheckedAction, resolve_action
from .answers import Ballot, agreement, answers_agree, normalise_answer
from .assessor import Assessor
from .protocol import Growing, Progress, Task
from .result import Rollout, SearchResult, TreeNode
from .rollout.branch_prefix import BranchPrefix
from .rollout.node_content import NodeContent
from .rollout.partial_rollout import PartialRollout
from .rollout.pruning import Pruning
from .rollout.reflection import REFLECTION
from .rollout.rollout_generator import RolloutGenerator
from .search_parameters import SearchParameters
from .search_tree import SearchNode, SearchTree
from .user_code import UserCode


class SearchRun:
    """The running search of one question: its tree, its budgets, and three ways to grow the tree.

    `roll_out` generates whole chains, `extend` single actions. The chains of a call are inserted in the order of its
    forks, so the tree does not depend on which chain ends first. `advance` generates whole chains too, but returns as
    soon as one has ended; which one that is depends only on their tokens.

    Attributes:
        task: The question.
        tree: The tree so far; empty once the search has ended.
        rollouts: Finished chains, in the order in which they were counted.
        in_flight: Chains that `advance` has started and that have not ended.
        action: What a node adds.
        code: Runs the user's own code for this search, with errors that name it.
    """

    def __init__(self, options: SearchParameters, task: Task, held: ExitStack) -> None:
        """Prepare the search of `task`; nodes that it takes from the engine are released when `held` closes.

        Raises:
            InputError: The value needs a reference answer, and the question has none.
        """
        self.task = task
        self.tree = SearchTree(NodeContent.prompt(BranchPrefix.whole(task.prompt)), options.max_depth)
        self.rollouts: list[Rollout] = []
        self.code = UserCode(task.question)
        self.action = CheckedAction(resolve_action(options.action), self.code)
        self.in_flight: list[PartialRollout] = []
        self._options = options
        self._assessor = Assessor(options, task, self.code, self._progress)
        self._leading: list[str] = []  # which answer has won after each rollout, where `convergence_window` asks for it
        self._ballot = Ballot(self._assessor.vote if options.stop_decided else None)
        self._followers: list[PartialRollout] = []
        self._pruning = Pruning(options.prune)
        self._cancelled: list[PartialRollout] = []
        self._is_stuck = False
        self._deadline = None if options.max_seconds is None else time.monotonic() + options.max_seconds
        columns = max(options.sampling.top_logprobs, self._assessor.columns)
        sampling = replace(options.sampling, top_logprobs=columns)
        self._generator = RolloutGenerator(
            task, self.action, sampling, self._pruning, self._deadline, self._progress, held
        )
        held.callback(self._close)

    def _close(self) -> None:
        """Break all cycles of references, which would keep the tree until the garbage collector finds them."""
        self.tree.clear()
        del self._assessor, self._ballot, self._generator

    # --- budgets -----------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the search has ended: a budget is spent, the answer is decided, or nothing more can be drawn."""
        late = self._deadline is not None and bool(self.rollouts) and time.monotonic() >= self._deadline
        spent = min(self.rollouts_left, self.tokens_left, self.nodes_left) < 1
        stopped = self._is_stuck or bool(self._cancelled)
        return late or spent or stopped or self._votes_needed < 1 or self._is_decided() or self._has_converged()

    @property
    def rollouts_left(self) -> int:
        """How many more chains may be finished."""
        most = self._options.rollouts
        return sys.maxsize if most is None else most - len(self.rollouts)

    @property
    def tokens_left(self) -> int:
        """How many more tokens may be drawn."""
        most = self._options.max_tokens
        return sys.maxsize if most is None else most - self._generator.generated

    @property
    def nodes_left(self) -> int:
        """How many more nodes may be added."""
        most = self._options.max_nodes
        return sys.maxsize if most is None else most - len(self.tree.nodes)

    def admits(self, forks: Sequence[SearchNode]) -> bool:
        """Whether another chain may start while those from `forks`, and those of `in_flight`, are in flight.

        A chain that the token budget might cut short is worth little, so it waits until no other is in flight. A chain
        that may turn out to be unnecessary waits too.
        """
        count = len(self.in_flight) + len(forks)
        if count >= min(self._options.parallel, self.rollouts_left, self.nodes_left, self._votes_needed):
            return False
        longest = self._options.max_rollout_tokens
        return not count or self._tokens_free - sum(longest - fork.drawn for fork in forks) >= longest

    @property
    def _tokens_free(self) -> int:
        """How many tokens neither are drawn nor may be drawn by chains in flight."""
        return self.tokens_left - sum(partial.allowance for partial in self.in_flight)

    @property
    def _votes_needed(self) -> int:
        """How many more chains would reach the `vote_margin`, if all of them gave the most frequent answer."""
        if not self._options.vote_margin or self._assessor.vote is None:
            return sys.maxsize
        return self._options.vote_margin - self._ballot.margin

    def _is_decided(self) -> bool:
        most = self._options.rollouts
        if not self._options.stop_decided or most is None or self._assessor.vote is None:
            return False
        return self._ballot.is_decided(self.rollouts_left)

    def _has_converged(self) -> bool:
        window = self._options.convergence_window
        if window is None or len(self.rollouts) <= window:
            return False
        tree: Sequence[TreeNode] = ()
        if self._assessor.vote is None:  # the same rollouts may lead to another answer in a larger tree
            tree, self._leading = self.tree.export(), []
        first = max(len(self._leading), len(self.rollouts) - window - 1)
        self._leading += [""] * (first - len(self._leading))
        for count in range(first + 1, len(self.rollouts) + 1):
            self._leading.append(normalise_answer(self._assessor.choose_now(self.rollouts[:count], tree).answer))
        return len(set(self._leading[-window - 1 :])) == 1

    # --- growing -----------------------------------------------------------------------------------------------

    def roll_out(self, forks: Sequence[SearchNode], greedy_first: bool = False) -> Growing[list[SearchNode | None]]:
        """Generate a chain from each of `forks` to its end, and back up its value.

        Args:
            forks: The nodes where the chains start.
            greedy_first: Whether the first chain consists of the most probable tokens.

        Returns:
            The leaf of each fork's chain; None if the deadline or a spent budget cut it off.
        """
        before = self._generator.generated
        partials = self._partials(forks, shared=False)
        for partial in partials[:1]:
            partial.greedy = greedy_first
        yield from self._generator.generate(partials)
        self._is_stuck = self._generator.generated == before
        yield from self._reflect(partials)
        leaves = self._inserted(partials)
        yield from self._count(leaves, partials, before)
        before = self._generator.generated
        backtracking = self._backtracking(leaves)
        yield from self._generator.generate(backtracking)
        yield from self._count(self._inserted(backtracking), backtracking, before)
        return leaves

    def advance(self, forks: Sequence[SearchNode], greedy_first: bool = False) -> Growing[list[SearchNode]]:
        """Start a chain from each of `forks` beside those in flight, go on until a chain has ended, and back it up.

        Chains that end within the same `WINDOW` tokens are counted together, in the order in which they were started.

        Args:
            forks: The nodes where new chains start.
            greedy_first: Whether the first of them consists of the most probable tokens.

        Returns:
            The forks of the chains that have ended.
        """
        before = self._generator.generated
        started = self._partials(forks, shared=False)
        for partial in started[:1]:
            partial.greedy = greedy_first
        self.in_flight += started
        started, self._followers = [*self._followers, *started], []
        ended: list[PartialRollout] = []
        while self.in_flight and not ended:
            landed = yield from self._generator.advance(started)
            started = []
            for partial in landed:
                self.in_flight.remove(partial)
                if (reflection := self._reflection(partial, self._tokens_free)) is not None:
                    self.in_flight.append(reflection)
                    started.append(reflection)
                else:
                    ended.append(partial.reflected())
        self._is_stuck = self._generator.generated == before and not self.in_flight
        leaves = self._inserted(ended)
        yield from self._count(leaves, ended, self._generator.drawn)
        backtracking = self._backtracking(leaves)
        self.in_flight += backtracking
        self._followers = started + backtracking
        return [partial.fork for partial in ended if not partial.extra]

    def extend(self, forks: Sequence[SearchNode]) -> Growing[list[SearchNode | None]]:
        """Generate one action after each of `forks`, and rate the new nodes.

        If the action ends its chain, the chain is counted as a rollout. A fork may occur several times; identical
        samples become one node.

        Returns:
            The new node of each fork; None if the deadline or a spent budget cut it off.
        """
        before = self._generator.generated
        partials = self._partials(forks[: self.nodes_left], shared=True)
        yield from self._generator.generate(partials, single=True)
        self._is_stuck = self._generator.generated == before
        reached = self._inserted(partials)
        ended = [node if node and node.terminal else None for node in reached]
        yield from self._count(ended, partials, self._generator.generated)
        unrated = [node for node in dict.fromkeys(reached) if node is not None and node.rating is None]
        ratings = yield from self._assessor.rate([(node, node.terminal) for node in unrated])
        for node, value in zip(unrated, ratings, strict=True):
            node.rating = value
        return reached + [None] * (len(forks) - len(reached))

    # --- partial rollouts --------------------------------------------------------------------------------------

    def _partials(self, forks: Sequence[SearchNode], shared: bool) -> list[PartialRollout]:
        """Make a partial rollout for each fork. The tokens left are shared equally, or go to the first forks first."""
        tokens = self._tokens_free
        partials = []
        for index, fork in enumerate(forks):
            most = tokens // (len(forks) - index) if shared else tokens
            allowance = max(0, min(most, self._options.max_rollout_tokens - fork.drawn))
            tokens -= allowance
            partials.append(PartialRollout(fork, allowance))
        return partials

    def _reflect(self, partials: Sequence[PartialRollout]) -> Growing[None]:
        """Append the reflection to each finished thought, and let the model continue from there."""
        tokens = self.tokens_left
        reflections: list[PartialRollout] = []
        for partial in partials:
            if (reflection := self._reflection(partial, tokens)) is not None:
                tokens -= reflection.allowance
                reflections.append(reflection)
        yield from self._generator.generate(reflections)
        for reflection in reflections:
            reflection.reflected()

    def _reflection(self, partial: PartialRollout, tokens: int) -> PartialRollout | None:
        """A rollout that reflects on `partial`, with at most `tokens` tokens; None if unwanted or without room."""
        wanted = self._options.reflection and not self.action.guided and partial.reflects_on is None
        if not (wanted and partial.complete) or REFLECTION in partial.fork.text:
            return None
        reflection = self._generator.reflection(partial)
        room = self.task.context - reflection.last.length
        reflection.allowance = min(tokens, room, self._options.max_rollout_tokens - reflection.drawn)
        reflection.extra = partial.extra
        return reflection if reflection.allowance >= 1 else None

    def _backtracking(self, leaves: Sequence[SearchNode | None]) -> list[PartialRollout]:
        """A rollout for each chain with a wrong answer (by the reference), from some actions before; once per chain."""
        backtrack = self.action.backtrack()
        if backtrack is None:
            return []
        levels, prompt = backtrack
        forks = []
        for leaf in leaves:
            if leaf is None:
                continue
            trace = self._assessor.trace(leaf, True)
            is_wrong = trace.reference is not None and not answers_agree(trace.answer, trace.reference)
            if is_wrong and leaf.depth > levels and prompt.kind not in leaf.kinds:
                forks.append(leaf.path[-1 - levels])
        room = max(0, min(self.rollouts_left, self.nodes_left) - len(self.in_flight))
        partials = [partial for partial in self._partials(forks[:room], shared=False) if partial.allowance >= 1]
        for partial in partials:
            partial.extra = True
            self._generator.begin_action(partial, prompt)
        return partials

    # --- the tree ----------------------------------------------------------------------------------------------

    def _inserted(self, partials: Sequence[PartialRollout]) -> list[SearchNode | None]:
        """Insert partial rollouts into the tree; each leaves at least one node of the budget for every later one.

        Returns:
            The last node of each; None if the deadline or the token budget cut it before an action was complete.
        """
        ends: list[SearchNode | None] = []
        for index, partial in enumerate(partials):
            later = len(self.in_flight) + len(partials) - index - 1
            if partial.ended == "cancelled":
                self._cancelled.append(partial)
            is_cut_off = partial.ended == "cancelled" or not (partial.ended or partial.paused)
            ends.append(None if is_cut_off else self._insert(partial, max(1, self.nodes_left - later)))
        return ends

    def _insert(self, partial: PartialRollout, max_new: int) -> SearchNode:
        contents = partial.contents(self.action, self.task.decode)
        return self.tree.insert(partial.fork, contents, max_new, ended=partial.ended is not None)

    def _count(
        self, leaves: Sequence[SearchNode | None], partials: Sequence[PartialRollout], spent: int
    ) -> Growing[None]:
        """Count the chains that have ended in `leaves`; `spent` tokens were drawn before them."""
        ended = [(leaf, partial) for leaf, partial in zip(leaves, partials, strict=True) if leaf is not None]
        values = yield from self._assessor.rate([(leaf, partial.complete) for leaf, partial in ended])
        for (leaf, partial), value in zip(ended, values, strict=True):
            spent = min(spent + partial.spent, self._generator.drawn)
            self.tree.backup(leaf, value)
            reason = partial.ended or "length"
            answer = self._assessor.answer(leaf.text)
            rollout = Rollout(leaf.text, value, answer, leaf.drawn, reason, leaf.id, spent)
            self.rollouts.append(rollout)
            self._ballot.add(rollout)
            if partial.complete:
                self._pruning.observe(partial.stats.confidences)

    # --- the outcome -------------------------------------------------------------------------------------------

    def _progress(self) -> Progress:
        best = self._ballot.best
        return Progress(
            index=self.task.index,
            rollouts=len(self.rollouts),
            nodes=len(self.tree.nodes),
            generated_tokens=self._generator.generated,
            best_value=best.value if best else None,
            best_answer=best.answer if best else "",
            votes=self._ballot.for_best,
        )

    def result(self) -> Growing[SearchResult]:
        """Choose the answer and return the result. If no chain was finished, the longest unfinished one is used.

        Raises:
            CallableError: The strategy has generated nothing, or other code of the user has failed.
        """
        if not self.rollouts:
            if not (self._generator.generated or self._cancelled):
                raise self.code.error(
                    f"strategy {self._options.name!r} has generated nothing: its grow must yield from "
                    "run.roll_out(...) or run.extend(...)"
                )
            yield from self._count_longest()
        tree = self.tree.export()
        chosen = yield from self._assessor.choose(self.rollouts, tree)
        return SearchResult(
            question=self.task.question,
            answer=chosen.answer,
            text=chosen.text,
            value=chosen.value,
            confidence=agreement(chosen, self.rollouts),
            rollouts=tuple(self.rollouts),
            tree=tree,
            best_path=tuple(node.id for node in self.tree.nodes[chosen.leaf].path),
            instruction=self.task.instruction,
        )

    def _count_longest(self) -> Growing[None]:
        partial = max(self._cancelled, key=lambda partial: partial.drawn, default=None)
        deepest = max(self.tree.nodes, key=lambda node: node.drawn)
        if partial is None or partial.drawn < deepest.drawn:
            partial, leaf = PartialRollout(deepest, 0, ended="length"), deepest
        else:
            leaf = self._insert(partial, max(1, self.nodes_left))
        yield from self._count([leaf], [partial], self._generator.generated)
