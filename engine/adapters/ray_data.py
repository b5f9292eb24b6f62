"""A class for `map_batches` of Ray Data: a batch of questions in, columns with their results out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Engine
from ..errors import InputError
from ..outcome import Outcome
from ..search.question import Question
from ..search.rollout.instruction import AUTO
from ..search.strategy import Strategy

Batch = Mapping[str, NDArray[Any]]
"""Columns of equal length by name, as Ray Data passes them with `batch_format="numpy"`, its default."""


class SearchBatches:
    """Searches batches of questions with one engine, which is loaded once per actor.

        dataset.map_batches(
            SearchBatches,
            fn_constructor_kwargs={"model": "/models/qwen", "strategy": MCTS(rollouts=16)},
            batch_size=256, num_gpus=1, compute=ray.data.ActorPoolStrategy(size=8),
        )

    A batch ends with its slowest question, so give it many times `concurrency` questions.
    """

    def __init__(
        self,
        model: str,
        strategy: Strategy,
        *,
        text_column: str = "question",
        answer_column: str | None = None,
        system: str | None = None,
        instruction: str = AUTO,
        concurrency: int = 32,
        **options: Any,  # noqa: ANN401  (of `Engine.load`)
    ) -> None:
        """Load `model`.

        Args:
            model: Its name or path, the same on every node.
            strategy: How to search.
            text_column: The column with the questions.
            answer_column: The column with the right answers, if there is one.
            system: System message, as for `Engine.stream`.
            instruction: The text added to each question, as for `Engine.stream`.
            concurrency: Questions searched at a time.
            options: Options of `Engine.load`.

        Raises:
            MarcotError: The model cannot be loaded.
        """
        self._engine = Engine.load(model, **options)
        self._strategy = strategy
        self._columns = text_column, answer_column
        self._asking: dict[str, Any] = {"system": system, "instruction": instruction, "concurrency": concurrency}

    def __call__(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Search a batch.

        Args:
            batch: Its columns.

        Returns:
            These columns and, in the same order, `answer`, `text`, `value` (NaN after an error), `result` (the whole
            result as JSON, see `SearchResult.from_dict`; empty after an error) and `error` (empty if there is none).

        Raises:
            InputError: There is no column of questions, or the strategy is invalid.
        """
        asked = self._questions(batch)
        ended: dict[int, Outcome] = {}
        for event in self._engine.stream(asked, self._strategy, **self._asking):
            if isinstance(event, Outcome):
                ended[event.index] = event
        outcomes = [ended[index] for index in range(len(asked))]
        results = [outcome.result for outcome in outcomes]
        return dict(batch) | {
            "answer": _texts(["" if result is None else result.answer for result in results]),
            "text": _texts(["" if result is None else result.text for result in results]),
            "value": np.array([math.nan if result is None else result.value for result in results]),
            "result": _texts(["" if result is None else json.dumps(result.to_dict()) for result in results]),
            "error": _texts(["" if outcome.error is None else str(outcome.error) for outcome in outcomes]),
        }

    def _questions(self, batch: Batch) -> list[Question]:
        text, answer = self._columns
        for name in self._columns:
            if name is not None and name not in batch:
                raise InputError(f"the batch has no column {name!r}; it has {', '.join(map(repr, batch))}")
        texts = batch[text].tolist()
        references = [None] * len(texts) if answer is None else batch[answer].tolist()
        return [Question(*each) for each in zip(texts, references, strict=True)]


def _texts(values: Sequence[str]) -> NDArray[Any]:
    return np.array(values, dtype=object)
