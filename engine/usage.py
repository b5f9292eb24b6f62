"""Counters of the work that a request caused."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(slots=True)
class Usage:
    """Tokens and events of one request, or of an engine since it was loaded.

    Attributes:
        generated_tokens: Tokens drawn.
        prefill_tokens: Tokens whose K and V were not computed by decoding: prompts, appended text, scored text, and the
            last token of a branch when it is first expanded.
        reused_tokens: Tokens above each branch's fork that were in the cache already.
        recomputed_tokens: Tokens run through the model again: after an eviction or a preemption, or the last token
            of a cached prefix whose distribution is not known.
        full_rows: Draws that needed a full row of logits, because the kernel's candidates did not settle the
            truncation.
        preemptions: How often a branch lost its K and V to make room.
    """

    generated_tokens: int = 0
    prefill_tokens: int = 0
    reused_tokens: int = 0
    recomputed_tokens: int = 0
    full_rows: int = 0
    preemptions: int = 0

    def add(self, other: Usage) -> None:
        """Add the counts of `other` to these."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def copy(self) -> Usage:
        """The counts as they are now."""
        return replace(self)

    def since(self, before: Usage) -> Usage:
        """What was counted after `before` was copied."""
        return Usage(*(getattr(self, field.name) - getattr(before, field.name) for field in fields(self)))
