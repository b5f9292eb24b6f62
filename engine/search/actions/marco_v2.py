"""Marco-o1 v2's kinds of action."""

from __future__ import annotations

from .guided import GuidedActions, Kind

_THOUGHTS = (("thinking", 1), ("hypothesis", 1), ("answer", 1))

MARCO_V2 = GuidedActions(
    "marco-v2",
    (
        Kind(
            "sub-task",
            openings=("To solve this, I first break it into smaller tasks:\n",),
            followers=(("thinking", 2),),
        ),
        Kind(
            "thinking",
            openings=("", "Let me think about the next step.\n"),
            followers=(("thinking", 1), ("double-check", 1), ("answer", 1)),
        ),
        Kind(
            "hypothesis",
            openings=("Suppose that ",),
            followers=(("thinking", 1), ("double-check", 1)),
        ),
        Kind(
            "double-check",
            openings=("Let me check this against the question.\n",),
            followers=_THOUGHTS,
        ),
        Kind(
            "reflection",
            openings=("Wait! Maybe I made some mistakes! I need to rethink from scratch.\n",),
            followers=_THOUGHTS,
        ),
        Kind(
            "answer",
            openings=("Therefore, the final answer is \\boxed{",),
            close=("\n",),
            max_tokens=48,
        ),
    ),
    start=(("thinking", 2), ("sub-task", 1)),
    back_off=2,
    retry="reflection",
)
"""The kinds that Marco-o1 v2 names (arXiv 2503.01461); their openings and counts are ours.

After an answer that the reference says is wrong, two actions are taken back and the model reflects from there.
"""
