"""A comparison as markdown tables and text."""

from __future__ import annotations

from ..report.sections import Heading, Section, Table
from .comparison import Comparison, Reply

_REPLY = ("model", "strategy", "answer", "", "confidence", "value", "rollouts", "tokens", "s")

_TITLE = "Models side by side"


def comparison_sections(comparison: Comparison) -> list[Section]:
    """A table of totals, then a table of replies for each prompt."""
    parts: list[Section] = [Heading(_TITLE, 1)]
    head = ("model", "strategy", "right", *comparison.situations, "tokens", "s")
    rows = []
    for contestant in comparison.contestants:
        total = comparison.total(contestant)
        kinds = [comparison.total(contestant, positions) for positions in comparison.situations.values()]
        shares = [f"{each.right} of {each.rated}" if each.rated else "-" for each in (total, *kinds)]
        rows.append([contestant.model, contestant.strategy, *shares, f"{total.tokens:.0f}", f"{total.seconds:.1f}"])
    parts += [Table(head, rows), "Tokens and seconds are means over the prompts."]
    for situation, positions in comparison.situations.items():
        parts.append(Heading(situation))
        for position in positions:
            prompt = comparison.prompts[position]
            parts.append("> " + "\n> ".join(prompt.question.splitlines()))
            known = f"Right: {prompt.reference}. " if prompt.reference is not None else ""
            if known or prompt.why:
                parts.append(f"{known}{prompt.why}".strip())
            replies = ([*each, *_cells(comparison.replies[position, each])] for each in comparison.contestants)
            parts.append(Table(_REPLY, list(replies)))
    return parts


def is_comparison_markdown(head: bytes) -> bool:
    """Whether a file that begins with `head` is the markdown of a comparison."""
    return head.startswith(f"# {_TITLE}\n\n| model | strategy | right |".encode())


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
