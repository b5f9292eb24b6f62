"""The report of `make bench-quality`: a table and a JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final

from marcot.engine.evaluation import Interval, Pairs, wilson
from marcot.model.files.atomic_file import write_atomically
from rich.console import Console
from rich.table import Table

from .divergence import Divergence, Summary
from .mgsm import Attempt

EXACT: Final = "exact"
FAST: Final = "fast"
YARDSTICK = "int8 weights"
"""Exact mode with weights that were decoded and rounded to 8 bits (Q8_0), which is generally considered harmless.
Weights that are 8-bit in the file stay as they are."""

_LABEL_WIDTH, _COLUMN_WIDTH = 36, 30
_NOTHING = ""

_LEGEND = (
    "Text: KL(exact || other) over the whole vocabulary for every token, in nats; windows of at most 1024 tokens. "
    f"'{YARDSTICK}' is exact mode after the weights were rounded to Q8_0 once more, a change that is commonly taken to "
    "be harmless. [ ] are 95 % intervals; those of means over text come from a bootstrap over runs of 64 tokens.",
    "MGSM: English, greedy, one chain per question. The difference's interval is Agresti and Min's for pairs.",
)


@dataclass
class ModelQuality:
    """The measurements of one model.

    Attributes:
        name: Name of the model.
        texts: Comparisons with exact mode, by contender and text.
        attempts: Answers to MGSM's questions, by compute mode, in the order of the questions.
    """

    name: str
    texts: dict[str, dict[str, Divergence]] = field(default_factory=dict)
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)

    def summary(self, contender: str, text: str | None = None) -> Summary:
        """Return the summary of one text or, by default, of all."""
        texts = self.texts[contender]
        return Summary.of(texts[text] if text else Divergence.joined(list(texts.values())))

    @property
    def pairs(self) -> Pairs:
        """The results of exact and fast mode, paired by question."""
        return Pairs.of((exact.right, fast.right) for exact, fast in self._both)

    def same(self, what: Callable[[Attempt], str]) -> float:
        """Return the fraction of questions for which `what` is the same in both modes."""
        return sum(what(exact) == what(fast) for exact, fast in self._both) / len(self._both)

    @property
    def _both(self) -> list[tuple[Attempt, Attempt]]:
        return list(zip(self.attempts[EXACT], self.attempts[FAST], strict=True))


class QualityReport:
    """The report of one run.

    Attributes:
        facts: Hardware, versions and settings.
        models: The measurements of each model.
    """

    def __init__(self, facts: dict[str, Any], models: Sequence[ModelQuality]) -> None:
        self.facts = facts
        self.models = models

    @property
    def missed(self) -> list[str]:
        """One line for each model whose MGSM accuracy changes by more than chance explains."""
        return [
            f"{model.name}: fast changes MGSM accuracy by {_points(model.pairs.difference, model.pairs.interval)}"
            for model in self.models
            if model.attempts and not model.pairs.interval.low <= 0 <= model.pairs.interval.high
        ]

    def text(self) -> str:
        """Return the table, with a legend."""
        table = Table(title="quality of fast compute, against exact compute of the same file", title_justify="left")
        table.add_column("")
        for model in self.models:
            for contender in (FAST, YARDSTICK):
                table.add_column(f"{model.name}\n{contender}", justify="right")
        if any(model.texts for model in self.models):
            self._add_text_rows(table)
            table.add_section()
        if any(model.attempts for model in self.models):
            self._add_mgsm_rows(table)
        output = StringIO()
        console = Console(file=output, width=_LABEL_WIDTH + 2 * _COLUMN_WIDTH * max(2, len(self.models)))
        for part in (f"{self.facts['cpu']}, {self.facts['kernels']} kernels", table, *_LEGEND):
            console.print(part, highlight=False, markup=False)
        return output.getvalue()

    def write(self, path: Path) -> None:
        """Write everything except the texts of the chains to `path`."""
        content = self.facts | {"models": {model.name: _plain(model) for model in self.models}}
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())

    def _add_text_rows(self, table: Table) -> None:
        def row(title: str, cell: Callable[[Summary], str], text: str | None = None) -> None:
            table.add_row(
                title,
                *(
                    cell(model.summary(contender, text)) if model.texts else _NOTHING
                    for model in self.models
                    for contender in (FAST, YARDSTICK)
                ),
            )

        row("predictions", lambda summary: str(summary.tokens))
        row("mean KL", lambda summary: f"{summary.kl:.5f} {_ends(summary.kl_interval, '.5f')}")
        for text in next(model.texts[FAST] for model in self.models if model.texts):
            row(f"  {text}", lambda summary: f"{summary.kl:.5f} {_ends(summary.kl_interval, '.5f')}", text)
        row("median KL", lambda summary: f"{summary.kl_median:.5f}")
        row("99th percentile of KL", lambda summary: f"{summary.kl_99:.4f}")
        row("same most probable token", lambda summary: f"{summary.same_top:.2%} {_ends(summary.same_top_interval)}")
        row("perplexity, exact", lambda summary: f"{summary.exact_perplexity:.3f}")
        row("perplexity", lambda summary: f"{summary.other_perplexity:.3f}")
        row(
            "perplexity ratio",
            lambda summary: f"{summary.perplexity_ratio:.4f} {_ends(summary.perplexity_ratio_interval, '.4f')}",
        )

    def _add_mgsm_rows(self, table: Table) -> None:
        def row(title: str, cell: Callable[[ModelQuality], str]) -> None:
            cells = [(cell(model) if model.attempts else _NOTHING, _NOTHING) for model in self.models]
            table.add_row(title, *(text for pair in cells for text in pair))

        row("MGSM, questions", lambda model: str(sum(model.pairs)))
        row("right, exact", lambda model: _right(model.attempts[EXACT]))
        row("right, fast", lambda model: _right(model.attempts[FAST]))
        row("difference, points", lambda model: _points(model.pairs.difference, model.pairs.interval))
        row("right in exact only, in fast only", lambda model: f"{model.pairs.only_first}, {model.pairs.only_second}")
        row("McNemar p", lambda model: f"{model.pairs.p_value:.2f}")
        row("same answer", lambda model: f"{model.same(lambda attempt: attempt.answer):.1%}")
        row("same text", lambda model: f"{model.same(lambda attempt: attempt.text):.1%}")
        row("cut, exact, fast", lambda model: ", ".join(f"{_cut(model.attempts[mode]):.1%}" for mode in (EXACT, FAST)))


def _plain(model: ModelQuality) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if model.texts:
        plain["text"] = {
            contender: {"all": model.summary(contender)._asdict()}
            | {text: model.summary(contender, text)._asdict() for text in texts}
            for contender, texts in model.texts.items()
        }
    if model.attempts:
        pairs = model.pairs
        plain["mgsm"] = {
            mode: {
                "right": _count(attempts),
                "questions": len(attempts),
                "interval": wilson(_count(attempts), len(attempts)),
                "cut": _cut(attempts),
                "answers": [attempt.answer for attempt in attempts],
            }
            for mode, attempts in model.attempts.items()
        }
        plain["mgsm"]["pairs"] = pairs._asdict() | {
            "difference": pairs.difference,
            "interval": pairs.interval,
            "p_value": pairs.p_value,
            "same_answer": model.same(lambda attempt: attempt.answer),
            "same_text": model.same(lambda attempt: attempt.text),
        }
    return plain


def _count(attempts: Sequence[Attempt]) -> int:
    return sum(attempt.right for attempt in attempts)


def _cut(attempts: Sequence[Attempt]) -> float:
    return sum(attempt.finish_reason == "length" for attempt in attempts) / len(attempts)


def _right(attempts: Sequence[Attempt]) -> str:
    right = _count(attempts)
    return f"{right / len(attempts):.1%} {_ends(wilson(right, len(attempts)))}"


def _points(difference: float, interval: Interval) -> str:
    return f"{100 * difference:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _ends(interval: Interval | None, form: str = ".1%") -> str:
    return _NOTHING if interval is None else f"[{interval.low:{form}}, {interval.high:{form}}]"
