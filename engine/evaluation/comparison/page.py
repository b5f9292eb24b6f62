"""A comparison as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

from ...view import asset
from ...view.formulas import answer_formulas, find_formulas, to_html
from .comparison import Comparison, Contestant, Reply

_STYLE = Path(__file__).parents[1] / "data" / "compare.css"


def comparison_page(comparison: Comparison, trees: Mapping[tuple[int, Contestant], str]) -> str:
    """The page as HTML: the totals, then each prompt with the models side by side and their chains collapsed.

    Args:
        comparison: All replies.
        trees: Link to the tree of each reply's search, by position of the prompt and contestant.
    """
    situations = "\n".join(
        _situation(comparison, situation, positions, trees) for situation, positions in comparison.situations.items()
    )
    settings = "".join(_settings(comparison, each) for each in comparison.contestants)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="marcot compare">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Models side by side</title>
<style>
{asset("theme.css")}{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main style="--models: {len(comparison.models)}">
<h1>Models side by side</h1>
<p class="dim">{len(comparison.prompts)} prompts. <b>Value</b> is the reward of the chosen chain: its mean token
confidence, unless another value was chosen. <b>Confidence</b> is the share of all chains' reward that agrees with the
answer; a single chain agrees with itself. Made by marcot compare.</p>
{_totals(comparison)}
{situations}
<h2>Settings</h2>
{settings}
</main>
</body>
</html>
"""


def is_comparison_page(head: bytes) -> bool:
    """Whether a file that begins with `head` was made by `comparison_page`; older pages are recognised by title."""
    marks = (b'<meta name="generator" content="marcot compare">', b"<title>Models side by side</title>")
    return head.startswith(b"<!doctype html>") and any(mark in head for mark in marks)


def _totals(comparison: Comparison) -> str:
    head = ("model", "strategy", "right", *comparison.situations, "tokens", "s")
    rows = []
    for contestant in comparison.contestants:
        total = comparison.total(contestant)
        kinds = [comparison.total(contestant, positions) for positions in comparison.situations.values()]
        shares = [f"{each.right} / {each.rated}" if each.rated else "–" for each in (total, *kinds)]
        cells = (*contestant, f"<b>{shares[0]}</b>", *shares[1:], f"{total.tokens:.0f}", f"{total.seconds:.1f}")
        safe = (escape(cell) if place < 2 else cell for place, cell in enumerate(cells))
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in safe)}</tr>")
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "\n".join(rows)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f'<div class="scroll" role="region" aria-label="Totals" tabindex="0">{table}</div>'


def _situation(
    comparison: Comparison, situation: str, positions: list[int], trees: Mapping[tuple[int, Contestant], str]
) -> str:
    prompts = "\n".join(_prompt(comparison, position, trees) for position in positions)
    return f"<section>\n<h2>{escape(situation)}</h2>\n{prompts}\n</section>"


def _prompt(comparison: Comparison, position: int, trees: Mapping[tuple[int, Contestant], str]) -> str:
    prompt = comparison.prompts[position]
    right = f"Right: <b>{_answer(prompt.reference)}</b>. " if prompt.reference is not None else ""
    models = "\n".join(
        f'<div class="model"><h3>{escape(model)}</h3>\n'
        + "\n".join(
            _reply(each, comparison.replies[position, each], trees.get((position, each)))
            for each in comparison.of_model(model)
        )
        + "</div>"
        for model in comparison.models
    )
    return f"""<article class="prompt">
<p class="text" dir="auto">{_text(prompt.question)}</p>
<p class="dim">{right}{escape(prompt.why)}</p>
<div class="scroll"><div class="models">
{models}
</div></div>
</article>"""


def _reply(contestant: Contestant, reply: Reply, tree: str | None) -> str:
    if reply.error is not None:
        return (
            f'<div class="reply wrong"><span class="verdict">failed</span><span class="dim">'
            f"{escape(contestant.strategy)}</span><br>{escape(reply.error)}</div>"
        )
    verdict = {True: "right", False: "wrong", None: ""}[reply.correct]
    chains = "1 chain" if reply.rollouts == 1 else f"{reply.rollouts} chains"
    link = "" if tree is None else f'<a class="tree" href="{escape(tree)}">the tree</a>\n'
    return f"""<div class="reply {verdict}"><span class="verdict">{verdict}</span>
<span class="dim">{escape(contestant.strategy)}</span><br>
<span class="answer" dir="auto">{_answer(reply.answer) or "(none)"}</span><br>
<span class="dim">confidence {_meter(reply.confidence)} {reply.confidence:.2f} · value {reply.value:.3f}<br>
{chains} · {reply.tokens} tokens · {reply.seconds:.1f} s</span>
{link}<details><summary>the chain</summary>
<div class="chain text" dir="auto">{_text(reply.text.strip())}</div></details></div>"""


def _text(text: str) -> str:
    return to_html(text, find_formulas(text))


def _answer(answer: str) -> str:
    return to_html(answer, answer_formulas(answer))


def _meter(share: float) -> str:
    return f'<span class="meter"><i style="width: {100 * min(max(share, 0.0), 1.0):.0f}%"></i></span>'


def _settings(comparison: Comparison, contestant: Contestant) -> str:
    name = escape(f"{contestant.model}, {contestant.strategy}")
    settings = json.dumps(dict(comparison.settings[contestant]), ensure_ascii=False, indent=1)
    return f"<details><summary>{name}</summary><pre>{escape(settings)}</pre></details>\n"
