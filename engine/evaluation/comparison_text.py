"""A comparison as markdown."""

from __future__ import annotations

from .comparison import Comparison, Reply
from .table import table


def comparison_markdown(comparison: Comparison) -> str:
    """A table of totals, and one of replies for each prompt."""
    parts = ["# Models side by side", ""]
    head = ("model", "strategy", "right", *comparison.situations, "tokens", "s")
    rows = []
    for contestant in comparison.contestants:
        total = comparison.total(contestant)
        kinds = [comparison.total(contestant, positions) for positions in comparison.situations.values()]
        shares = [f"{each.right} of {each.rated}" if each.rated else "-" for each in (total, *kinds)]
        rows.append([contestant.model, contestant.strategy, *shares, f"{total.tokens:.0f}", f"{total.seconds:.1f}"])
    parts += table(head, rows)
    parts += ["Tokens and seconds are means over the prompts.", ""]
    for situation, positions in comparison.situations.items():
        parts += [f"## {situation}", ""]
        for position in positions:
            prompt = comparison.prompts[position]
            parts += ["> " + "\n> ".join(prompt.question.splitlines()), ""]
            known = f"Right: {prompt.reference}. " if prompt.reference is not None else ""
            if known or prompt.why:
                parts += [f"{known}{prompt.why}".strip(), ""]
            parts += table(
                ("model", "strategy", "answer", "", "confidence", "value", "rollouts", "tokens", "s"),
                (
                    [contestant.model, contestant.strategy, *_cells(comparison.replies[position, contestant])]
                    for contestant in comparison.contestants
                ),
            )
    return "\n".join(parts)


def _cells(reply: Reply) -> list[str]:
    if reply.error is not None:
        return [reply.error, "failed", "", "", "", "", ""]
    return [
        reply.answer or "(none)",
        {True: "right", False: "wrong", None: ""}[reply.correct],
        f"{reply.confidence:.2f}",
        f"{reply.value:.3f}",
        str(reply.rollouts),
        str(reply.tokens),
        f"{reply.seconds:.1f}",
    ]
