"""A comparison of several models side by side on a few prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...search import SearchResult
from ...text.brief import brief_record

COMPARE_PROMPTS = Path(__file__).parents[1] / "data" / "compare.jsonl"
"""Our own prompts for the six situations of the published comparison of Marco-o1 and Llama 3.2."""


class Prompt(NamedTuple):
    """A prompt of a comparison.

    Attributes:
        situation: What kind of task it is; prompts of the same kind are shown together.
        question: The task.
        reference: The right answer, or None.
        why: What the prompt is meant to show; may be empty.
    """

    situation: str
    question: str
    reference: str | None
    why: str


class Contestant(NamedTuple):
    """A model with a strategy.

    Attributes:
        model: Name of the model.
        strategy: Label of the strategy.
    """

    model: str
    strategy: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A contestant's reply to a prompt.

    Attributes:
        answer: The answer.
        correct: Whether it is right; None without a reference or without an answer.
        confidence: Share of the total rollout reward that agrees with the answer.
        value: Reward of the chosen rollout; for a single chain, its mean token confidence.
        rollouts: Number of rollouts.
        tokens: Tokens generated.
        seconds: Wall time; marcot ran no other search at the same time.
        text: The chosen chain.
        error: Why there is no answer, or None.
    """

    answer: str = ""
    correct: bool | None = None
    confidence: float = 0.0
    value: float = 0.0
    rollouts: int = 0
    tokens: int = 0
    seconds: float = 0.0
    text: str = ""
    error: str | None = None

    def __repr__(self) -> str:
        return brief_record(self, "answer", "correct", "confidence", "value", "rollouts", "text", "error")


class Total(NamedTuple):
    """Totals of a contestant over several prompts.

    Attributes:
        right: Number of prompts answered rightly.
        rated: Number of prompts whose reply could be marked right or wrong.
        tokens: Mean number of tokens generated per answer.
        seconds: Mean wall time per answer.
    """

    right: int
    rated: int
    tokens: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """The replies of all contestants to all prompts.

    Attributes:
        prompts: The prompts, in page order.
        contestants: The contestants, in column order; those of the same model are adjacent.
        replies: Replies by position of the prompt and contestant.
        settings: For each contestant, everything that its answers depend on.
        searches: The search behind each reply that is not an error, by position of the prompt and contestant.
        interrupted: Whether the comparison was stopped; missing replies then carry an error that says so.
    """

    prompts: Sequence[Prompt]
    contestants: Sequence[Contestant]
    replies: Mapping[tuple[int, Contestant], Reply]
    settings: Mapping[Contestant, Mapping[str, Any]]
    searches: Mapping[tuple[int, Contestant], SearchResult] = field(default_factory=dict)
    interrupted: bool = False

    def __repr__(self) -> str:
        return brief_record(self, "prompts", "contestants")

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(dict.fromkeys(contestant.model for contestant in self.contestants))

    @property
    def situations(self) -> dict[str, list[int]]:
        """Positions of the prompts of each kind."""
        found: dict[str, list[int]] = {}
        for position, prompt in enumerate(self.prompts):
            found.setdefault(prompt.situation, []).append(position)
        return found

    def of_model(self, model: str) -> list[Contestant]:
        """The contestants that use `model`."""
        return [contestant for contestant in self.contestants if contestant.model == model]

    def total(self, contestant: Contestant, positions: Sequence[int] | None = None) -> Total:
        """Totals of `contestant` over the prompts at `positions`, by default all."""
        chosen = range(len(self.prompts)) if positions is None else positions
        replies = [self.replies[position, contestant] for position in chosen]
        rated = [reply for reply in replies if reply.correct is not None]
        count = max(1, sum(reply.error is None for reply in replies))
        return Total(
            right=sum(bool(reply.correct) for reply in rated),
            rated=len(rated),
            tokens=sum(reply.tokens for reply in replies) / count,
            seconds=sum(reply.seconds for reply in replies) / count,
        )

    def to_object(self) -> dict[str, Any]:
        """The comparison as a JSON object."""
        contestants = [
            {
                **contestant._asdict(),
                "total": self.total(contestant)._asdict(),
                "settings": dict(self.settings[contestant]),
            }
            for contestant in self.contestants
        ]
        prompts = [
            {
                **prompt._asdict(),
                "replies": [{**each._asdict(), **asdict(self.replies[position, each])} for each in self.contestants],
            }
            for position, prompt in enumerate(self.prompts)
        ]
        return {"contestants": contestants, "prompts": prompts}
