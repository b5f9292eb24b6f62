"""The running search of one question, whose tree a strategy grows."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from ..errors import InputError
from .actions import CheckedAction, resolve_action
from .answers import (
    Vote,
    agreement,
    answers_agree,
    normalise_answer,
    resolve_answer_parser,
    resolve_answer_rule,
    vote_margin,
    votes,
)
from .protocol import Growing, Progress, Task
from .result import Rollout, SearchResult, TreeNode
from .rollout.branch_prefix import BranchPrefix
from .rollout.node_content import NodeContent
from .rollout.partial_rollout import PartialRollout
from .rollout.pruning import Pruning
from .rollout.reflection import REFLECTION, conclusion
from .rollout.rollout_generator import RolloutGenerator
from .rollout.token_stats import TokenStats
from .search_parameters import SearchParameters
from .search_tree import SearchNode, SearchTree
from .trace import Trace
from .user_code import UserCode, name_of
from .values import rating, resolve_value


class SearchRun:
    """The running search of one question: its tree, its budgets, and two ways to grow the tree.

    `roll_out` generates whole chains, `extend` single actions. The chains of a call are inserted in the order of its
    forks, so the tree does not depend on which chain ends first.

    Attributes:
        task: The question.
        tree: The tree so far.
        rollouts: Finished chains, in the order in which they were counted.
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
        self._options = options
        self._value = resolve_value(options.value)
        if self._value.needs_reference and task.reference is None:
            raise InputError(
                f"value {self._value.name!r} needs the right answer of every question: pass Question(text, reference), "
                "or a file with questions and answers"
            )
        self._value.prepare()
        self._rule = resolve_answer_rule(options.answer_rule)
        self._parse = resolve_answer_parser(options.answer_from)
        self._pruning = Pruning(options.prune)
        self._cancelled: list[PartialRollout] = []
        self._is_stuck = False
        self._deadline = None if options.max_seconds is None else time.monotonic() + options.max_seconds
        columns = max(options.sampling.top_logprobs, self._value.width)
        sampling = replace(options.sampling, top_logprobs=columns)
        self._generator = RolloutGenerator(
            task, self.action, sampling, self._pruning, self._deadline, self._progress, held
        )

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
        """Whether another chain may start while those from `forks` are in flight.

        A chain that the token budget might cut short is worth little, so it waits until no other is in flight. A chain
        that may turn out to be unnecessary waits too.
        """
        if len(forks) >= min(self._options.parallel, self.rollouts_left, self.nodes_left, self._votes_needed):
            return False
        longest = self._options.max_rollout_tokens
        return not forks or self.tokens_left - sum(longest - fork.drawn for fork in forks) >= longest

    @property
    def _votes_needed(self) -> int:
        """How many more chains would reach the `vote_margin`, if all of them gave the most frequent answer."""
        if not self._options.vote_margin or not isinstance(self._rule, Vote):
            return sys.maxsize
        return self._options.vote_margin - vote_margin(self.rollouts)

    def _is_decided(self) -> bool:
        most = self._options.rollouts
        if not self._options.stop_decided or most is None or not isinstance(self._rule, Vote):
            return False
        return self._rule.is_decided(self.rollouts, self.rollouts_left)

    def _has_converged(self) -> bool:
        window = self._options.convergence_window
        if window is None or len(self.rollouts) <= window:
            return False
        tree = () if isinstance(self._rule, Vote) else self.tree.export()
        counts = range(len(self.rollouts) - window, len(self.rollouts) + 1)
        answers = {normalise_answer(self._chosen(self.rollouts[:count], tree).answer) for count in counts}
        return len(answers) == 1

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
        if self._options.reflection and not self.action.guided:
            yield from self._reflect(partials)
        leaves = self._inserted(partials)
        self._count(leaves, partials, before)
        if self.action.backtrack() is not None:
            yield from self._backtrack([leaf for leaf in leaves if leaf is not None])
        return leaves

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
        self._count([node if node and node.terminal else None for node in reached], partials, self._generator.generated)
        unrated = [node for node in dict.fromkeys(reached) if node is not None and node.rating is None]
        for node, value in zip(unrated, self._rate([(node, node.terminal) for node in unrated]), strict=True):
            node.rating = value
        return reached + [None] * (len(forks) - len(reached))

    # --- partial rollouts --------------------------------------------------------------------------------------

    def _partials(self, forks: Sequence[SearchNode], shared: bool) -> list[PartialRollout]:
        """Make a partial rollout for each fork. The tokens left are shared equally, or go to the first forks first."""
        tokens = self.tokens_left
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
        reflections: list[tuple[PartialRollout, PartialRollout]] = []
        for partial in partials:
            if not partial.complete or REFLECTION in partial.fork.text:
                continue
            reflection = self._generator.reflection(partial)
            room = self.task.context - reflection.last.length
            reflection.allowance = min(tokens, room, self._options.max_rollout_tokens - reflection.drawn)
            if reflection.allowance >= 1:
                tokens -= reflection.allowance
                reflections.append((partial, reflection))
        yield from self._generator.generate([reflection for _, reflection in reflections])
        for partial, reflection in reflections:
            if reflection.ended != "cancelled":
                partial.sections, partial.ended = reflection.sections, reflection.ended
            partial.spent += reflection.spent

    def _backtrack(self, leaves: Sequence[SearchNode]) -> Growing[None]:
        """For each chain with a wrong answer (by the reference), go back some actions and continue from there, once."""
        backtrack = self.action.backtrack()
        assert backtrack is not None
        levels, prompt = backtrack
        forks = []
        for leaf in leaves:
            trace = self._trace(leaf, True)
            is_wrong = trace.reference is not None and not answers_agree(trace.answer, trace.reference)
            if is_wrong and leaf.depth > levels and prompt.kind not in leaf.kinds:
                forks.append(leaf.path[-1 - levels])
        before = self._generator.generated
        room = min(self.rollouts_left, self.nodes_left)
        partials = [
            partial for partial in self._partials(forks[: max(0, room)], shared=False) if partial.allowance >= 1
        ]
        for partial in partials:
            self._generator.begin_action(partial, prompt)
        yield from self._generator.generate(partials)
        self._count(self._inserted(partials), partials, before)

    # --- the tree ----------------------------------------------------------------------------------------------

    def _inserted(self, partials: Sequence[PartialRollout]) -> list[SearchNode | None]:
        """Insert partial rollouts into the tree; each leaves at least one node of the budget for every later one.

        Returns:
            The last node of each; None if the deadline or the token budget cut it before an action was complete.
        """
        ends: list[SearchNode | None] = []
        for index, partial in enumerate(partials):
            later = len(partials) - index - 1
            if partial.ended == "cancelled":
                self._cancelled.append(partial)
            is_cut_off = partial.ended == "cancelled" or not (partial.ended or partial.paused)
            ends.append(None if is_cut_off else self._insert(partial, max(1, self.nodes_left - later)))
        return ends

    def _insert(self, partial: PartialRollout, max_new: int) -> SearchNode:
        contents = partial.contents(self.action, self.task.decode)
        return self.tree.insert(partial.fork, contents, max_new, ended=partial.ended is not None)

    def _count(self, leaves: Sequence[SearchNode | None], partials: Sequence[PartialRollout], spent: int) -> None:
        """Count the chains that have ended in `leaves`; `spent` tokens were drawn before them."""
        ended = [(leaf, partial) for leaf, partial in zip(leaves, partials, strict=True) if leaf is not None]
        values = self._rate([(leaf, partial.complete) for leaf, partial in ended])
        for (leaf, partial), value in zip(ended, values, strict=True):
            spent = min(spent + partial.spent, self._generator.generated)
            self.tree.backup(leaf, value)
            reason = partial.ended or "length"
            answer = self._answer(leaf.text)
            self.rollouts.append(Rollout(leaf.text, value, answer, leaf.drawn, reason, leaf.id, spent))
            if partial.complete:
                self._pruning.observe(partial.stats.confidences)

    def _rate(self, ends: Sequence[tuple[SearchNode, bool]]) -> list[float]:
        """Values of the chains that end in these nodes; each node comes with whether its chain is complete."""
        if not ends:
            return []
        traces = [self._trace(node, complete) for node, complete in ends]
        with self.code.calling(f"value {self._value.name!r}"):
            values = [rating(self._value.name, value) for value in self._value.rate(traces)]
            if len(values) != len(traces):
                raise InputError(f"rated {len(traces)} chains by {len(values)} values")
        return values

    def _trace(self, node: SearchNode, complete: bool) -> Trace:
        stats = TokenStats.joined([each.content.stats for each in node.path[1:]]).drawn()
        return Trace(
            self.task.question, self.task.reference, node.text, complete, *stats,
            parse=self._answer,
        )  # fmt: skip

    def _answer(self, text: str) -> str:
        """The answer in the text of a chain, or of a part of one."""
        with self.code.calling(f"answer_from {_name(self._options.answer_from)}"):
            answer = self._parse(conclusion(text))
            if not isinstance(answer, str):
                raise InputError(f"found {answer!r}: an answer must be a string, empty if there is none")
        return answer

    def _chosen(self, rollouts: Sequence[Rollout], tree: Sequence[TreeNode]) -> Rollout:
        """The rollout whose answer wins."""
        with self.code.calling(f"answer rule {_name(self._options.answer_rule)}"):
            chosen = self._rule(rollouts, tree)
            if chosen not in rollouts:
                raise InputError(f"chose {chosen!r:.100}: must be one of the rollouts that it was given")
        return chosen

    # --- the outcome -------------------------------------------------------------------------------------------

    def _progress(self) -> Progress:
        best = max(self.rollouts, key=lambda rollout: rollout.value, default=None)
        return Progress(
            index=self.task.index,
            rollouts=len(self.rollouts),
            nodes=len(self.tree.nodes),
            generated_tokens=self._generator.generated,
            best_value=best.value if best else None,
            best_answer=best.answer if best else "",
            votes=votes(best.answer if best else "", self.rollouts),
        )

    def result(self) -> SearchResult:
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
            self._count_longest()
        tree = self.tree.export()
        chosen = self._chosen(self.rollouts, tree)
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

    def _count_longest(self) -> None:
        partial = max(self._cancelled, key=lambda partial: partial.drawn, default=None)
        deepest = max(self.tree.nodes, key=lambda node: node.drawn)
        if partial is None or partial.drawn < deepest.drawn:
            partial, leaf = PartialRollout(deepest, 0, ended="length"), deepest
        else:
            leaf = self._insert(partial, max(1, self.nodes_left))
        self._count([leaf], [partial], self._generator.generated)


def _name(choice: object) -> str:
    """The name of a choice, or of its function, for messages."""
    return repr(choice if isinstance(choice, str) else name_of(choice))
