"""The filters that a trace must pass to become training data: one function each, counted by name in the card.

A filter returns True if the trace stays. A field that the source lacks (`None`) is no reason to drop a trace. The card
shows the docstrings of the filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..options import DatasetOptions
from ..thought_output import has_tags, parse_thought_output
from ..trace import ReasoningTrace
from .repetition import ends_in_loop, repeated_share
from .script import foreign_share

Filter = Callable[[ReasoningTrace, DatasetOptions], bool]

# Decoding failures, halves of surrogate pairs, and control characters other than tab, line feed and carriage return.
_BROKEN = re.compile("[\ufffd\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def complete(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """The model ended the text itself."""
    return trace.complete


def answered(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """An answer could be parsed from it."""
    return bool(trace.answer.strip())


def well_formed(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """If there are Thought and Output tags, there are all four, in order, around everything and not empty."""
    return not has_tags(trace.text) or parse_thought_output(trace.text) is not None


def readable(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """No characters that decoding broke, and no control characters."""
    return not _BROKEN.search(trace.text) and not _BROKEN.search(trace.question)


def length(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """From `min_characters` to `max_characters`."""
    return options.min_characters <= len(trace.text.strip()) <= options.max_characters


def repetition(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """No loop at the end, and at most `max_repetition` of its runs of words are repeats."""
    return not ends_in_loop(trace.text) and repeated_share(trace.text) <= options.max_repetition


def language(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """At most `max_foreign` of its words are in another script than the question's."""
    return foreign_share(trace.text, trace.question) <= options.max_foreign


def value(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """Reward of at least `min_value`."""
    return trace.value is None or options.min_value is None or trace.value >= options.min_value


def confidence(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """Its search was at least `min_confidence` confident."""
    return trace.confidence is None or trace.confidence >= options.min_confidence


def agreement(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """At least `min_agreement` of its search's rollouts have the same answer."""
    return trace.agreement is None or trace.agreement >= options.min_agreement


def correct(trace: ReasoningTrace, options: DatasetOptions) -> bool:
    """The answer is the reference answer, unless wrong ones are kept."""
    return trace.correct is not False or options.keep_wrong


HEURISTIC_FILTERS: Mapping[str, Filter] = {
    "complete": complete,
    "answered": answered,
    "well-formed": well_formed,
    "readable": readable,
    "length": length,
    "repetition": repetition,
    "language": language,
}
"""Filters that every text in a data set passes, including the rejected texts of pairs."""

QUALITY_FILTERS: Mapping[str, Filter] = {
    "value": value,
    "confidence": confidence,
    "agreement": agreement,
    "correct": correct,
}
"""Further filters for texts that a model should imitate or prefer."""


def first_failed(trace: ReasoningTrace, options: DatasetOptions, filters: Mapping[str, Filter]) -> str | None:
    """The name of the first filter that `trace` does not pass; None if it passes all."""
    return next((name for name, passes in filters.items() if not passes(trace, options)), None)
