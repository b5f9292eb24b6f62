"""Writes chains: turns drafts into waves of expansions, and what comes back into longer drafts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from ..expansion import Expansion
from ..sampling import Sampling
from .actions import Action, Opening
from .draft import Draft
from .pruning import Pruning
from .reflection import REFLECTION, separated, thought_length
from .strategy import Growing, Progress, Task, Wave
from .stretch import Stretch


class Writer:
    """Knows what an action is and when a chain ends; budgets are the drafts' own.

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
        """Write chains for `task`.

        Args:
            task: The question.
            action: What chains are made of.
            sampling: How tokens are drawn.
            pruning: Which chains to give up.
            deadline: `time.monotonic()` at which branches are cut, or None.
            progress: Where the search stands, for waves to tell.
            held: Releases the nodes that are taken from the engine.
        """
        self.generated = 0
        self._task = task
        self._action = action
        self._sampling = sampling
        self._pruning = pruning
        self._deadline = deadline
        self._progress = progress
        self._held = held
        self._samples: Counter[tuple[int, ...]] = Counter()
        self._openings: Counter[tuple[tuple[int, ...], int]] = Counter()

    def write(self, drafts: Sequence[Draft], single: bool = False) -> Growing[None]:
        """Write drafts to their ends, or one action of each, wave by wave."""
        writing = [draft for draft in drafts if draft.allowance >= 1]
        while writing:
            starts = [self._begun(draft, single) for draft in writing]
            for draft in writing:
                if draft.fork.piece.origin.length < self._task.context <= draft.last.length:
                    draft.ended = "length"  # an opening has filled the context
            going = [(draft, start) for draft, start in zip(writing, starts, strict=True) if draft.ended is None]
            drawn = yield from self._sample([start for _, start in going])
            for (draft, _), stretch in zip(going, drawn, strict=True):
                draft.add(stretch)
                self._look_at(draft, stretch, single)
            writing = [draft for draft, _ in going if draft.ended is None and not draft.paused]

    def _begun(self, draft: Draft, single: bool) -> tuple[Stretch, Sampling]:
        """Begin the draft's next part if it must; return where to draw, and how."""
        limit, stops = draft.allowance, self._sampling.stop
        opening = draft.opening or self._opening(draft)
        if opening is not None:
            if draft.opening is None:
                self.open(draft, opening)
            limit, stops = min(limit, opening.max_tokens), (*stops, *opening.close)
        else:
            if not draft.parts or draft.parts[-1].whole:
                draft.begin(self._action.name, False)
            if single:
                limit, stops = min(limit, self._action.max_tokens or limit), (*stops, *self._action.stops)
            elif self._pruning.active:
                limit = min(limit, self._pruning.window)
        temperature = 0.0 if draft.greedy else self._sampling.temperature
        return draft.last, replace(self._sampling, temperature=temperature, max_tokens=limit, stop=stops)

    def _opening(self, draft: Draft) -> Opening | None:
        """How the draft's next action begins, if it is told."""
        if not self._action.guided:
            return None
        key = tuple(draft.last.branch.path_ids), draft.last.end
        opening = self._action.opening(draft.kinds, self._openings[key])
        self._openings[key] += 1
        return opening

    def open(self, draft: Draft, opening: Opening) -> None:
        """Put the opening's text after the draft."""
        draft.opening = opening
        text = separated(opening.text, self._task.decode(draft.last.token_ids)) if opening.text else ""
        draft.begin(opening.kind, True, *([self._given(draft.last, text)] if text else []))

    def _given(self, after: Stretch, text: str) -> Stretch:
        """The state after `text` is put into the model's mouth."""
        return Stretch.whole(self._held.enter_context(after.state(self._held).append(text)))

    def _look_at(self, draft: Draft, stretch: Stretch, single: bool) -> None:
        """See whether a draft has ended, or its action has, with what was drawn last."""
        reason = stretch.branch.finish_reason
        assert reason is not None, "drawn"
        exhausted = draft.allowance < 1 or stretch.length >= self._task.context
        opening = draft.opening
        ends_action = reason == "stop" and (single or opening is not None) and self._is_own_stop(draft, stretch)
        if opening is not None and not opening.final and reason == "eos":
            draft.retract()
            reason, ends_action = "stop", True
        if reason in ("eos", "cancelled"):
            draft.ended = reason
        elif ends_action and not exhausted and stretch.branch.finish_reason == "stop" and not self._has_ink(draft):
            return  # a stop within the white space before an action does not end it
        elif opening is not None and (reason == "stop" or not exhausted):
            draft.opening = None
            is_over = opening.final or (reason == "stop" and not ends_action)
            draft.ended = "stop" if is_over else "length" if exhausted else None
            draft.paused = single and bool(draft.token_ids)  # an action of which nothing is left leads nowhere new
        elif reason == "stop" and not ends_action:
            draft.ended = "stop"
        elif exhausted:
            draft.ended = "length"
        elif single:
            draft.paused = True
        elif self._pruning.is_hopeless(draft.signal.confidences):
            draft.ended = "pruned"

    def _has_ink(self, draft: Draft) -> bool:
        """Whether the part that is being written has more than white space that was drawn."""
        drawn = [stretch.token_ids for stretch in draft.parts[-1].stretches if not stretch.given]
        return bool(self._task.decode([token for token_ids in drawn for token in token_ids]).strip())

    def _is_own_stop(self, draft: Draft, stretch: Stretch) -> bool:
        """Whether it was the end of an action that stopped the draft, and nothing that the user asked for."""
        text = self._task.decode(draft.token_ids)
        last = stretch.token_ids[-1:]
        # A stop string that is a special token ends a branch without a text.
        special = bool(self._sampling.stop and last and not self._task.decode(last))
        by_token = special or any(token in self._sampling.stop_token_ids for token in last)
        return not by_token and not any(stop in text for stop in self._sampling.stop)

    def _sample(self, starts: Sequence[tuple[Stretch, Sampling]]) -> Growing[list[Stretch]]:
        """One wave: a new continuation of each start."""
        expansions = []
        for start, sampling in starts:
            state = start.state(self._held)
            key = tuple(state.path_ids)
            expansions.append(Expansion(state, 1, sampling, self._samples[key]))
            self._samples[key] += 1
        answers = yield Wave(expansions, self._progress(), self._deadline)
        drawn = [Stretch.whole(self._held.enter_context(branch)) for [branch] in answers]
        self.generated += sum(stretch.drawn for stretch in drawn)
        return drawn

    def doubt(self, draft: Draft) -> Draft:
        """The thought of a finished draft and the reflection after it."""
        length = thought_length(draft.token_ids, draft.ended == "eos", self._task.decode)
        doubt = Draft(draft.fork, 0, draft.head(length), greedy=draft.greedy)
        text = separated(REFLECTION, self._task.decode(doubt.last.token_ids))
        doubt.begin("reflection", True, self._given(doubt.last, text))
        return doubt
