"""A run of `marcot compare`: the same prompts for several models."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ...engine import Engine
from ...evaluation import Comparison, Contestant, EvalStage, EvalView, Prompt, Reply, StrategySpec
from ...outcome import Outcome
from ...results.provenance import find_provenance
from ...search import Question, SearchResult
from ...search.answers import answers_agree
from ...search.rollout.instruction import with_instruction


@dataclass(frozen=True, slots=True)
class CompareRun:
    """The options of `marcot compare`, and the run.

    Attributes:
        prompts: The prompts.
        models: Models as the user named them; they are loaded one after the other.
        specs: The strategies that each model answers with.
        numbers: Number format, compute mode and weights, as the user named them.
        system: System message, or None for the chat template's default.
        instruction: The text added to each prompt.
        day: The date that chat templates show as today's.
    """

    prompts: Sequence[Prompt]
    models: Sequence[str]
    specs: Sequence[StrategySpec]
    numbers: dict[str, str]
    system: str | None
    instruction: str
    day: date

    def run(self, load: Callable[[str], Engine]) -> Comparison:
        """Ask every model all prompts, or as many as possible until Ctrl-C.

        Args:
            load: Loads a model by name.

        Raises:
            KeyboardInterrupt: Ctrl-C came before the first reply.
        """
        replies: dict[tuple[int, Contestant], Reply] = {}
        searches: dict[tuple[int, Contestant], SearchResult] = {}
        settings: dict[Contestant, dict[str, Any]] = {}
        interrupted = False
        try:
            self._ask(load, replies, searches, settings)
        except KeyboardInterrupt:
            if not replies:
                raise
            interrupted = True
            for contestant in settings:
                for position in range(len(self.prompts)):
                    replies.setdefault((position, contestant), Reply(error="interrupted before it answered"))
        return Comparison(self.prompts, list(settings), replies, settings, searches, interrupted)

    def _ask(
        self,
        load: Callable[[str], Engine],
        replies: dict[tuple[int, Contestant], Reply],
        searches: dict[tuple[int, Contestant], SearchResult],
        settings: dict[Contestant, dict[str, Any]],
    ) -> None:
        """Add every reply and its search to `replies` and `searches` as it arrives."""
        stages = [
            EvalStage(f"{Path(model).name}, {spec.label}", len(self.prompts), spec.strategy)
            for model in self.models
            for spec in self.specs
        ]
        with EvalView(stages) as view:
            for model in self.models:
                engine = load(model)
                for spec in self.specs:
                    contestant = Contestant(Path(model).name, spec.label)
                    basis = {"model": contestant.model, **self.numbers, "instruction": self.instruction}
                    settings[contestant] = basis | {"system": self.system} | spec.strategy.settings()
                    settings[contestant] |= find_provenance(engine, self.day)
                    view.begin()
                    for position, reply, result in self._replies(engine, spec, view):
                        replies[position, contestant] = reply
                        if result is not None:
                            searches[position, contestant] = result
                # Before the next one is loaded: two may be more than the memory holds.
                del engine
                gc.collect()

    def _replies(
        self, engine: Engine, spec: StrategySpec, view: EvalView
    ) -> Iterator[tuple[int, Reply, SearchResult | None]]:
        """Answer one prompt after another, not several at once, because times are compared too."""
        asked = (Question(with_instruction(each.question, self.instruction), each.reference) for each in self.prompts)
        events = engine.stream(asked, spec.strategy, system=self.system, instruction=None, concurrency=1, date=self.day)
        for event in events:
            correct = False
            if isinstance(event, Outcome):
                reply = _reply(event, self.prompts[event.index])
                correct = bool(reply.correct)
                yield event.index, reply, event.result
            view.show(event, correct)


def _reply(outcome: Outcome, prompt: Prompt) -> Reply:
    result = outcome.result
    if result is None:
        return Reply(error=str(outcome.error))
    assert result.stats is not None
    return Reply(
        answer=result.answer,
        correct=None if prompt.reference is None else answers_agree(result.answer, prompt.reference),
        confidence=result.confidence,
        value=result.value,
        rollouts=len(result.rollouts),
        tokens=result.stats.generated_tokens,
        seconds=result.stats.wall_s,
        text=result.text,
    )
