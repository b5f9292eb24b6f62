"""The two measurements of `make bench-quality`, texts and answers. Both continue from finished work in a ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
import torch
from marcot.engine import Engine, InputError
from marcot.engine.evaluation import Problem
from marcot.kernels import Compute, select
from marcot.model import Checkpoint, Decoder, WeightFormat, load_checkpoint, locate
from rich.progress import Progress, TaskID

from .decoded import Decoded
from .divergence import Divergence, compare
from .ledger import Ledger
from .mgsm import KV_TOKENS, Attempt, attempts
from .rater import Rater
from .report import FAST, YARDSTICK
from .texts import WINDOW_TOKENS, Window, texts, windows

T = TypeVar("T")
_CPU = torch.device("cpu")


class Measuring:
    """Measures one model."""

    def __init__(self, model: str, made_by: str, progress: Progress) -> None:
        """Prepare to measure; weights are loaded only when they are needed.

        Args:
            model: A built-in name or a file.
            made_by: Fingerprint of everything that results depend on, except the model.
            progress: Shows the progress bars.

        Raises:
            ModelNotFoundError: There is no such model.
        """
        self._model = model
        file = locate(model)
        self._name = file.stem
        with load_checkpoint(model) as checkpoint:
            self._content = checkpoint.fingerprint()[:12]
        self._made_by = made_by
        self._progress = progress

    def texts(self, tokens: int) -> dict[str, dict[str, Divergence]]:
        """Compare predictions of the first `tokens` tokens of each text; return them by contender and text.

        Raises:
            InputError: The model has no tokenizer, or no quantised weights.
        """
        with load_checkpoint(self._model) as checkpoint, self._ledger("text") as ledger:
            tokenizer = checkpoint.tokenizer()
            if tokenizer is None or not checkpoint.quantised:
                raise InputError(f"{self._model}: needs a tokenizer, and quantised weights to compute fast with")
            todo = [window for text in texts() for window in windows(text, tokenizer, tokens)]
            raters: _Raters | None = None
            bar = self._progress.add_task(f"{self._name}, text", total=sum(len(window.ids) for window in todo))
            found: dict[str, dict[str, list[Divergence]]] = {FAST: {}, YARDSTICK: {}}
            for window in todo:
                key = repr(window)
                if ledger.get(key) is None:
                    raters = raters or self._loaded(bar, lambda: _Raters.load(checkpoint))
                    ledger.add(key, raters.compare(window))
                for contender, columns in ledger.get(key).items():
                    part = Divergence(*(np.array(column) for column in columns))
                    found[contender].setdefault(window.text, []).append(part)
                self._progress.advance(bar, len(window.ids))
        return {
            contender: {text: Divergence.joined(parts) for text, parts in by_text.items()}
            for contender, by_text in found.items()
        }

    def answers(self, mode: Compute, asked: Sequence[Problem]) -> list[Attempt]:
        """Answer every question in a compute mode; return the answers in the order of `asked`.

        Raises:
            MarcotError: The model does not load, or a question cannot be answered.
        """
        with self._ledger(f"mgsm-{mode}") as ledger:
            todo = [problem for problem in asked if ledger.get(problem.question) is None]
            done = len(asked) - len(todo)
            bar = self._progress.add_task(f"{self._name}, MGSM {mode}", total=len(asked), completed=done)
            if todo:
                engine = self._loaded(
                    bar, lambda: Engine.load(self._model, device="cpu", compute=mode, kv_tokens=KV_TOKENS)
                )
                questions = {problem.number: problem.question for problem in todo}
                for attempt in attempts(engine, todo):
                    ledger.add(questions[attempt.number], attempt)
                    self._progress.advance(bar)
            return [Attempt(*ledger.get(problem.question)) for problem in asked]

    def _loaded(self, bar: TaskID, load: Callable[[], T]) -> T:
        """Return `load()`; meanwhile the progress bar says that a model is loading."""
        description = self._progress.tasks[bar].description
        self._progress.update(bar, description=f"{description}, loading")
        loaded = load()
        self._progress.update(bar, description=description)
        return loaded

    def _ledger(self, part: str) -> Ledger:
        return Ledger(f"{self._name}-{self._content}-{part}", self._made_by)


class _Raters:
    """The exact rater, and the raters to compare with it."""

    def __init__(self, exact: Rater, others: dict[str, Rater]) -> None:
        self._exact = exact
        self._others = others

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> Self:
        def rater(source: Checkpoint, compute: Compute, weights: WeightFormat = "stored") -> Rater:
            decoder = Decoder(source, select(_CPU), torch.float32, _CPU, compute, weights)
            return Rater(decoder, WINDOW_TOKENS + 1)

        others = {FAST: rater(checkpoint, "fast"), YARDSTICK: rater(Decoded(checkpoint), "exact", "int8")}
        return cls(rater(checkpoint, "exact"), others)

    def compare(self, window: Window) -> dict[str, list[list[float]]]:
        """Return the columns of the divergence of each contender, as lists, ready for JSON."""
        found = compare(self._exact, self._others, window.ids)
        return {contender: [column.tolist() for column in columns] for contender, columns in found.items()}
