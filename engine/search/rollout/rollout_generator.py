"""Generates rollouts: yields waves of expansions and extends partial rollouts by the resulting nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from ...expansion import Expansion
from ...sampling.sampling import Sampling
from ..actions import Action, ActionPrompt
from ..protocol import Growing, Progress, Task, Wave
from .branch_prefix import BranchPrefix
from .partial_rollout import PartialRollout
from .pruning import Pruning
from .reflection import REFLECTION, separated, thought_length

if TYPE_CHECKING:
    from ...node import Node


WINDOW = 8
"""Tokens drawn between two checks of the rollouts in flight. On average, a rollout's place stays empty for half of them
after its end, which is little beside the hundred tokens or more of a rollout."""


class RolloutGenerator:
    """Extends partial rollouts by actions until their chains end; each partial rollout has its own budget.

    Attributes:
        generated: Tokens drawn so far.
    """

    def __init__(
        self,
        task: Task,
        action: Action,
        sampling: Sampling,
        pruning: Pruning,
        deadline: float | None,
        progress: Callable[[], Progress],
        held: ExitStack,
    ) -> None:
        """Generate rollouts for `task`.

        Args:
            task: The question.
            action: What one node adds.
            sampling: How tokens are drawn.
            pruning: Which chains to give up.
            deadline: The time (`time.monotonic()`) at which branches are cut, or None.
            progress: Returns the progress of the search, to report with waves.
            held: Releases the engine's nodes when it closes.
        """
        self.generated = 0
        self._task = task
        self._action = action
        self._sampling = sampling
        self._samplings: dict[tuple[float, int, tuple[str, ...]], Sampling] = {}
        self._pruning = pruning
        self._deadline = deadline
        self._progress = progress
        self._held = held
        self._flying: list[PartialRollout] = []
        self._queued: list[tuple[BranchPrefix, Sampling]] = []
        self._samples: Counter[tuple[int, ...]] = Counter()
        self._prompts: Counter[tuple[tuple[int, ...], int]] = Counter()

    def generate(self, partials: Sequence[PartialRollout], single: bool = False) -> Growing[None]:
        """Generate each partial rollout to its end, or by one action if `single`, wave by wave."""
        writing = [partial for partial in partials if partial.allowance >= 1]
        while writing:
            starts = [(partial, self._begin_next(partial, single)) for partial in writing]
            going = [(partial, start) for partial, start in starts if partial.ended is None]
            answers = yield Wave(self._expansions([start for _, start in going]), self._progress(), self._deadline)
            drawn = [self._drawn(branches) for branches in answers]
            for (partial, _), prefix in zip(going, drawn, strict=True):
                partial.add(prefix)
                self._update(partial, prefix, single)
            writing = [partial for partial, _ in going if partial.ended is None and not partial.paused]

    @property
    def drawn(self) -> int:
        """Tokens drawn so far, including those that rollouts in flight are known to have drawn."""
        return self.generated + sum(partial.drawing for partial in self._flying)

    def advance(self, partials: Sequence[PartialRollout]) -> Growing[list[PartialRollout]]:
        """Generate `partials` beside those in flight, until at least one of all has ended.

        Rollouts that end within the same `WINDOW` tokens end together, so which ones are returned depends only on their
        tokens.

        Returns:
            Those that have ended or may not draw anything, in the order in which they were started; none if none is in
            flight.
        """
        ended = [partial for partial in partials if partial.allowance < 1]
        going = [partial for partial in partials if partial.allowance >= 1]
        while True:
            for partial in going:
                start = self._begin_next(partial, False)
                if partial.ended is None:
                    self._flying.append(partial)
                    self._queued.append(start)
                else:
                    ended.append(partial)
            if not self._flying or any(partial.ended is not None for partial in ended):
                return ended
            expansions, self._queued = self._expansions(self._queued), []
            answers = yield Wave(expansions, self._progress(), self._deadline, WINDOW)
            prefixes = [None if branches is None else self._drawn(branches) for branches in answers]
            flying, self._flying, going = self._flying, [], []
            for partial, prefix in zip(flying, prefixes, strict=True):
                if prefix is None:
                    partial.drawing += WINDOW
                    self._flying.append(partial)
                    continue
                partial.add(prefix)
                self._update(partial, prefix, False)
                (going if partial.ended is None else ended).append(partial)

    def _drawn(self, branches: list[Node]) -> BranchPrefix:
        """The tokens of the single branch of an expansion, which the search holds from now on."""
        [branch] = branches
        prefix = BranchPrefix.whole(self._held.enter_context(branch))
        self.generated += prefix.drawn
        return prefix

    def _begin_next(self, partial: PartialRollout, single: bool) -> tuple[BranchPrefix, Sampling]:
        """Begin the next section of `partial` if one is due; return where to sample from, and how.

        If a prompt fills the context, the rollout ends instead.
        """
        limit, stops = partial.allowance, self._sampling.stop
        prompt = partial.prompt or self._prompt(partial)
        if prompt is not None:
            if partial.prompt is None:
                self.begin_action(partial, prompt)
            limit, stops = min(limit, prompt.max_tokens), (*stops, *prompt.close)
        else:
            if not partial.sections or partial.sections[-1].whole:
                partial.begin(self._action.name, False)
            if single:
                limit, stops = min(limit, self._action.max_tokens or limit), (*stops, *self._action.stops)
            elif self._pruning.active:
                limit = min(limit, self._pruning.window)
        temperature = 0.0 if partial.greedy else self._sampling.temperature
        key = temperature, limit, stops
        sampling = self._samplings.get(key)
        if sampling is None:  # most sections are sampled alike, and checking a `Sampling` takes 50 us
            sampling = replace(self._sampling, temperature=temperature, max_tokens=limit, stop=stops)
            self._samplings[key] = sampling
        if partial.fork.content.origin.length < self._task.context <= partial.last.length:
            partial.ended = "length"
        return partial.last, sampling

    def _prompt(self, partial: PartialRollout) -> ActionPrompt | None:
        """The prompt of the next action of `partial`; None if actions have no prompts."""
        if not self._action.guided:
            return None
        key = tuple(partial.last.branch.path_ids), partial.last.end
        prompt = self._action.prompt(partial.kinds, self._prompts[key])
        self._prompts[key] += 1
        return prompt

    def begin_action(self, partial: PartialRollout, prompt: ActionPrompt) -> None:
        """Append the text of `prompt` to `partial`."""
        partial.prompt = prompt
        text = separated(prompt.text, self._task.decode(partial.last.token_ids)) if prompt.text else ""
        partial.begin(prompt.kind, True, *([self._given(partial.last, text)] if text else []))

    def _given(self, after: BranchPrefix, text: str) -> BranchPrefix:
        """Append `text` to `after`, as given tokens."""
        return BranchPrefix.whole(self._held.enter_context(after.state(self._held).append(text)))

    def _update(self, partial: PartialRollout, prefix: BranchPrefix, single: bool) -> None:
        """Check whether `partial`, or its current action, has ended with `prefix`, which was drawn last."""
        exhausted = partial.allowance < 1 or prefix.length >= self._task.context
        if prefix.branch.finish_reason == "cancelled":
            partial.ended = "cancelled"
        elif partial.prompt is None:
            self._update_free(partial, prefix, single, exhausted)
        else:
            self._update_guided(partial, partial.prompt, prefix, single, exhausted)

    def _update_free(self, partial: PartialRollout, prefix: BranchPrefix, single: bool, exhausted: bool) -> None:
        """`_update` for a rollout whose actions are cut afterwards, or drawn one at a time (`single`)."""
        reason = prefix.branch.finish_reason
        ends_action = reason == "stop" and single and self._stopped_at_action_end(prefix)
        if reason == "eos" or (reason == "stop" and not ends_action):
            partial.ended = reason
        elif ends_action and not exhausted and not self._has_visible_text(partial):
            pass  # a stop string in white space before the action's text does not end the action
        elif exhausted:
            partial.ended = "length"
        elif single:
            partial.paused = True
        elif self._pruning.should_prune(partial.stats.confidences):
            partial.ended = "pruned"

    def _update_guided(
        self, partial: PartialRollout, prompt: ActionPrompt, prefix: BranchPrefix, single: bool, exhausted: bool
    ) -> None:
        """`_update` for a rollout that is drawn action by action, each after a prompt."""
        reason = prefix.branch.finish_reason
        if reason == "eos" and prompt.final:
            partial.ended = "eos"
            return
        ends_action = reason == "eos" or (reason == "stop" and self._stopped_at_action_end(prefix))
        if reason == "eos":
            partial.retract()
        elif ends_action and not exhausted and not self._has_visible_text(partial):
            return  # a stop string in white space before the action's text does not end the action
        elif reason == "length" and exhausted:
            partial.ended = "length"
            return
        partial.prompt = None
        if prompt.final or (reason == "stop" and not ends_action):
            partial.ended = "stop"
        elif exhausted:
            partial.ended = "length"
        partial.paused = single and bool(partial.token_ids)  # an empty action leads nowhere

    def _has_visible_text(self, partial: PartialRollout) -> bool:
        """Whether the current section has any drawn text besides white space."""
        drawn = [prefix.token_ids for prefix in partial.sections[-1].prefixes if not prefix.given]
        return bool(self._task.decode([token for token_ids in drawn for token in token_ids]).strip())

    def _stopped_at_action_end(self, prefix: BranchPrefix) -> bool:
        """Whether the branch stopped at the end of its action, not at one of the user's stop strings or tokens."""
        text = self._task.decode(prefix.token_ids)
        last = prefix.token_ids[-1:]
        # A stop string that is a special token ends a branch and leaves no text.
        special = bool(self._sampling.stop and last and not self._task.decode(last))
        by_token = special or any(token in self._sampling.stop_token_ids for token in last)
        return not by_token and not any(stop in text for stop in self._sampling.stop)

    def _expansions(self, starts: Sequence[tuple[BranchPrefix, Sampling]]) -> list[Expansion]:
        """An expansion for a new continuation of each start."""
        expansions = []
        for start, sampling in starts:
            state = start.state(self._held)
            key = tuple(state.path_ids)
            expansions.append(Expansion(state, 1, sampling, self._samples[key]))
            self._samples[key] += 1
        return expansions

    def reflection(self, partial: PartialRollout) -> PartialRollout:
        """A new partial rollout: the thought of a finished one with the reflection appended."""
        length = thought_length(partial.token_ids, partial.ended == "eos", self._task.decode)
        reflection = PartialRollout(partial.fork, 0, partial.head(length), greedy=partial.greedy, reflects_on=partial)
        text = separated(REFLECTION, self._task.decode(reflection.last.token_ids))
        reflection.begin("reflection", True, self._given(reflection.last, text))
        return reflection
