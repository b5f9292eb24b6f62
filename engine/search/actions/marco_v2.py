"""Marco-o1 v2's kinds of action."""

from __future__ import annotations

from .guided import GuidedActions, Kind

_STEPWISE = ("\n\n",)

MARCO_V2 = GuidedActions(
    "marco-v2",
    (
        Kind(
            "thinking",
            openings=("", "Let me think step by step.\n"),
            followers=(("answer", 1), ("double-check", 1)),
        ),
        Kind(
            "sub-task",
            openings=("To solve this, I break it into smaller tasks:\n",),
            close=_STEPWISE,
            followers=(("thinking", 2),),
        ),
        Kind(
            "hypothesis",
            openings=("Suppose that ",),
            close=_STEPWISE,
            followers=(("thinking", 1), ("double-check", 1)),
        ),
        Kind(
            "double-check",
            openings=("Let me check this against the question.\n",),
            followers=(("answer", 1), ("hypothesis", 1)),
        ),
        Kind(
            "reflection",
            openings=("Wait! Maybe I made some mistakes! I need to rethink from scratch.\n",),
            followers=(("answer", 1), ("double-check", 1)),
        ),
        Kind(
            "answer",
            openings=("Therefore, the final answer is \\boxed{",),
            close=("\n",),
            max_tokens=48,
        ),
    ),
    start=(("thinking", 2), ("sub-task", 1)),
    longest=6,
    back_off=2,
    retry="reflection",
)
"""The kinds that Marco-o1 v2 names (arXiv 2503.01461); the prompts, order and counts are ours.

After an answer that is wrong according to the reference, two actions are taken back and the model reflects from there.
"""
