"""marcot's branches as node states of TreeQuest (https://github.com/SakanaAI/treequest).

`BranchGenerator` is a TreeQuest generate function: a child state continues its parent's tokens, so that the K and V of
shared chains are computed once. `step_batch` generates all trials of an `ask_batch` in one batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from ..completion import FinishReason
from ..engine import Engine
from ..expansion import Expansion
from ..node import Node
from ..sampling.sampling import Sampling

if TYPE_CHECKING:
    from treequest import Algorithm

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class BranchState:
    """A chain: a prompt and what has been drawn after it. It can be copied, pickled and taken to another process.

    It holds tokens, not K and V. The engine keeps those in its cache while there is room, and computes them again if
    they are gone.

    Attributes:
        token_ids: All tokens, prompt included.
        text: The text after the prompt, follow-ups included.
        step: The text that was drawn after the parent, without a stop string at its end.
        confidence: Mean of Marco-o1's token confidences over all drawn tokens, from 0 to 1.
        drawn: How many tokens were drawn.
        finish_reason: Why the last step ended; `"eos"` if the model has ended its answer.
        parent_tokens: How many tokens the parent has.
        sample: Number of this sample among those of its parent.
    """

    token_ids: tuple[int, ...]
    text: str
    step: str
    confidence: float
    drawn: int
    finish_reason: FinishReason | None
    parent_tokens: int
    sample: int

    def __deepcopy__(self, memo: object) -> Self:
        return self  # immutable, and TreeQuest copies its whole tree at every step


class BranchGenerator:
    """A generate function of TreeQuest whose states are branches of one engine's KV tree.

    One thread may use it at a time, like the engine. Generators for the same prompt need samplings with different
    seeds, or they draw the same tokens.
    """

    def __init__(
        self,
        engine: Engine,
        prompt: str | Sequence[int],
        sampling: Sampling | None = None,
        *,
        score: Callable[[BranchState], float] = lambda state: state.confidence,
        follow_up: str | Sequence[int] | None = None,
    ) -> None:
        """Draw chains after `prompt`.

        Args:
            engine: The engine.
            prompt: Text or token ids, such as those of `engine.chat_ids(question)`.
            sampling: How to draw a step; its stops and `max_tokens` say what a step is.
            score: Rates a state from 0 to 1; by default its confidence.
            follow_up: Text or token ids to append to a finished answer before it is continued, such as the next turn of
                the chat, which asks for a revision. Without it, a finished answer is its own child.

        Raises:
            InputError: The prompt or `follow_up` is invalid.
        """
        codec = engine.routines.codec
        self._engine = engine
        self._codec = codec
        self._prompt = engine.prefill(prompt)
        self._prompt_ids = tuple(self._prompt.path_ids)
        self._sampling = Sampling() if sampling is None else sampling
        self._score = score
        self._follow_up = () if follow_up is None else tuple(codec.encode(follow_up))
        self._samples = Counter[tuple[int, ...]]()

    def __call__(self, parent: BranchState | None) -> tuple[BranchState, float]:
        """Draw one child of `parent` (None: of the prompt); return it and its score.

        Raises:
            MarcotError: The engine cannot continue it.
        """
        [child] = self.draw([parent])
        return child

    def draw(self, parents: Sequence[BranchState | None]) -> list[tuple[BranchState, float]]:
        """Draw one child of each of `parents` in one batch; a parent that occurs twice gets two different children.

        Raises:
            MarcotError: The engine cannot continue one of them.
        """
        children = [parent if parent is not None and self._is_over(parent) else None for parent in parents]
        places = [place for place, child in enumerate(children) if child is None]
        expansions = [self._expansion(parents[place]) for place in places]
        for place, expansion, [node] in zip(places, expansions, self._engine.expand(expansions), strict=True):
            children[place] = self._child(parents[place], expansion, node)
            node.release()
        return [(child, self._score(child)) for child in children if child is not None]

    def resume(self, states: Iterable[BranchState]) -> None:
        """Count the samples in `states`, drawn by an earlier process, so that new ones differ from them."""
        for state in states:
            ids = state.token_ids[: state.parent_tokens]
            self._samples[ids] = max(self._samples[ids], state.sample + 1)

    def _is_over(self, parent: BranchState) -> bool:
        """Whether nothing can follow: its answer has ended, or it fills the context."""
        room = self._engine.config.max_positions - len(parent.token_ids)
        ended = parent.finish_reason == "eos"
        return (ended and not self._follow_up) or room <= (len(self._follow_up) if ended else 0)

    def _expansion(self, parent: BranchState | None) -> Expansion:
        """One more sample of `parent`, to be drawn from the node at its end."""
        ids = self._prompt_ids if parent is None else parent.token_ids
        if parent is not None and parent.finish_reason == "eos":
            ids += self._follow_up
        added = ids[len(self._prompt_ids) :]
        node = self._prompt.append(added) if added else self._prompt
        expansion = Expansion(node, 1, self._sampling, self._samples[ids])
        self._samples[ids] += 1
        return expansion

    def _child(self, parent: BranchState | None, expansion: Expansion, node: Node) -> BranchState:
        before, drawn = (0.0, 0) if parent is None else (parent.confidence, parent.drawn)
        total = drawn + len(node.token_ids)
        ids = (*expansion.node.path_ids, *node.token_ids.tolist())
        return BranchState(
            token_ids=ids,
            text=self._codec.decode(ids[len(self._prompt_ids) :]),
            step=node.text,
            confidence=(before * drawn + float(node.confidences.sum())) / max(total, 1),
            drawn=total,
            finish_reason=node.finish_reason,
            parent_tokens=expansion.node.length,
            sample=expansion.first,
        )


def step_batch(
    algorithm: Algorithm[BranchState, S], state: S, batch_size: int, generators: Mapping[str, BranchGenerator]
) -> S:
    """Ask for `batch_size` trials, draw them in one batch per generator, and tell the results.

    Args:
        algorithm: Any of TreeQuest's.
        state: The algorithm's state.
        batch_size: How many trials to run.
        generators: The actions by name.

    Returns:
        The new state.
    """
    state, trials = algorithm.ask_batch(state, batch_size, list(generators))
    for action, generator in generators.items():
        asked = [trial for trial in trials if trial.action == action]
        for trial, result in zip(asked, generator.draw([trial.parent_state for trial in asked]), strict=True):
            state = algorithm.tell(state, trial.trial_id, result)
    return state
