"""The bars: performance targets on a GPU, and whether findings meet them.

Rates are targets for one H200; for another card they are scaled by its copy bandwidth or matrix-product speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from .card import Card
from .findings import Comparison, DecodeTiming, Finding, Rate, geometric_mean

MOST_STEP = 1.15
"""Maximum ratio of an engine step to the recorded step alone."""

LEAST_SEARCH = 0.75
"""Minimum ratio of a search's tokens/s to those of decoding with as many rows."""

MOST_HEAD, MOST_DRAWN_HEAD = 1.3, 1.4
"""Maximum ratio of the LM head's time to that of the plain product by cuBLAS, without and with a draw."""

MOST_ATTENTION_MEAN, MOST_ATTENTION = 0.8, 1.0
"""Maximum ratio of attention's time to FlashInfer's better way: geometric mean over all trees, and the worst tree."""

MOST_FP8 = 1.0
"""Maximum ratio of attention's time on fp8 pages to that on bf16 pages."""

MOST_4_BIT: Final = {1: 0.4, 4: 0.4, 16: 0.4, 32: 1.0, 64: 1.0, 128: 1.25, 256: 1.25}
"""Maximum ratio of a 4-bit linear's time to that of bf16 by cuBLAS, by number of rows."""

_REFERENCE_COPY, _REFERENCE_PRODUCT = 4.23e12, 6.8e14
"""Bytes and bf16 operations per second of the card on which the rates below were set."""

LEAST_DECODE: Final = {("0.5b", 256): 2.2 * 51_000, ("7b", 256): 1.5 * 21_600}
"""Minimum tokens/s by model and branches: a multiple of the rate of an engine that steps token by token."""

LEAST_PROMPTS: Final = {"0.5b": 15 * 18_000}
"""Minimum prompt tokens/s by model: a multiple of the rate of 512-row steps launched kernel by kernel."""


class Bar(NamedTuple):
    """A performance target with the measured value.

    Attributes:
        name: What is measured.
        value: The measured value.
        limit: The required value.
        at_least: Whether `limit` is a minimum rather than a maximum.
        where: The measurement that decides, or how the limit was set.
    """

    name: str
    value: float
    limit: float
    at_least: bool
    where: str

    @property
    def met(self) -> bool:
        """Whether the value meets the limit; NaN does not."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def bars(findings: Sequence[Finding], card: Card) -> list[Bar]:
    """The bars that `findings` decide."""
    comparisons = [one for one in findings if isinstance(one, Comparison)]
    decoding = [one for one in findings if isinstance(one, DecodeTiming) and one.contestant == "marcot"]
    rates = [one for one in findings if isinstance(one, Rate)]
    return [
        *_steps(decoding, card),
        *_searches(rates, decoding),
        *_prompts(rates, card),
        *_worst("LM head / cuBLAS", comparisons, "lm_head_topk", MOST_HEAD),
        *_worst("LM head with a draw / cuBLAS", comparisons, "lm_head_topk, drawn", MOST_DRAWN_HEAD),
        *_attention([one for one in comparisons if one.op == "tree_attention"]),
        *_linears([one for one in comparisons if one.op == "linear, 4 bits"]),
        *_worst("attention, fp8 / bf16 pages", comparisons, "tree_attention, fp8", MOST_FP8),
    ]


def _worst(name: str, comparisons: Iterable[Comparison], op: str, limit: float) -> list[Bar]:
    same = [one for one in comparisons if one.op == op]
    if not same:
        return []
    worst = max(same, key=lambda one: one.ratio)
    return [Bar(f"{name}, worst of {len(same)}", worst.ratio, limit, False, worst.shape)]


def _steps(decoding: Sequence[DecodeTiming], card: Card) -> list[Bar]:
    found: list[Bar] = []
    ratios = [(one.step_s / one.graph_s, one) for one in decoding if one.graph_s is not None]
    if ratios:
        ratio, worst = max(ratios)
        where = f"{worst.model}, {worst.branches} branches"
        found.append(Bar(f"step / recorded step, worst of {len(ratios)}", ratio, MOST_STEP, False, where))
    scale = card.copy_bandwidth / _REFERENCE_COPY
    for one in decoding:
        least = LEAST_DECODE.get((one.model, one.branches))
        if least is not None:
            name = f"decode, {one.model}, {one.branches} branches, tokens/s"
            found.append(Bar(name, one.tokens_per_s, least * scale, True, f"bar x {scale:.2f} for this card"))
    return found


def _searches(rates: Sequence[Rate], decoding: Sequence[DecodeTiming]) -> list[Bar]:
    by_rows = {(one.model, one.branches): one.tokens_per_s for one in decoding}
    return [
        Bar(f"search / decode, {one.model}, {one.rows} rows", one.tokens_per_s / decode, LEAST_SEARCH, True, "tokens/s")
        for one in rates
        if one.what == "search" and (decode := by_rows.get((one.model, one.rows))) is not None
    ]


def _prompts(rates: Sequence[Rate], card: Card) -> list[Bar]:
    scale = card.gemm_speed / _REFERENCE_PRODUCT
    return [
        Bar(
            f"prompts, {one.model}, tokens/s", one.tokens_per_s, least * scale, True, f"bar x {scale:.2f} for this card"
        )
        for one in rates
        if one.what == "prompts" and (least := LEAST_PROMPTS.get(one.model)) is not None
    ]


def _attention(comparisons: Sequence[Comparison]) -> list[Bar]:
    """Bars on the ratio to the better of FlashInfer's ways on each tree."""
    by_tree = groupby(sorted(comparisons, key=lambda one: one.shape), key=lambda one: one.shape)
    better = [max(same, key=lambda one: one.ratio) for _, same in by_tree]
    if not better:
        return []
    worst = max(better, key=lambda one: one.ratio)
    mean = geometric_mean([one.ratio for one in better])
    name = f"attention / FlashInfer's better way, {len(better)} trees"
    return [
        Bar(f"{name}, mean", mean, MOST_ATTENTION_MEAN, False, "geometric mean"),
        Bar(f"{name}, worst", worst.ratio, MOST_ATTENTION, False, f"{worst.shape}, {worst.peer}"),
    ]


def _linears(comparisons: Sequence[Comparison]) -> list[Bar]:
    found: list[Bar] = []
    for limit in sorted(set(MOST_4_BIT.values())):
        same = [one for one in comparisons if MOST_4_BIT.get(one.rows) == limit]
        rows = [rows for rows, most in MOST_4_BIT.items() if most == limit]
        name = f"4-bit linear / bf16 by cuBLAS, {rows[0]} to {rows[-1]} rows"
        found += _worst(name, same, "linear, 4 bits", limit)
    return found
