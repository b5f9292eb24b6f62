"""A finished search as the output of a notebook's cell."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .page import to_page

if TYPE_CHECKING:
    from ..search import SearchResult

LARGEST_PAGE = 2_000_000
"""Characters of a page that a notebook still gets: it keeps every output in its file."""

_HEIGHT = 640
"""Pixels, enough for the page's controls above a tree."""

_STYLE = "width: 100%; border: 1px solid #8886; border-radius: 6px"


def to_notebook(result: SearchResult) -> str:
    """Return the answer with the chain behind it, and the page of the tree in a frame.

    The frame holds all that it needs and is apart from the notebook's own styles. Viewers that show no frames or run no
    scripts still have the answer and its chain.
    """
    answer = f"<b>{_text(result.answer) or '(none)'}</b>"
    agreeing, answered = result.votes
    sure = f"confidence {result.confidence:.2f}, {agreeing} of {answered} chains"
    numbers = f"{sure}, value {result.value:.3f}, {result.size}"
    chain = (
        f"<details><summary>{answer} &nbsp; {numbers}</summary>"
        f'<pre style="white-space: pre-wrap">{_text(result.text.strip())}</pre></details>'
    )
    return f"<div>{chain}{_frame(result)}</div>"


def _frame(result: SearchResult) -> str:
    page = to_page(result, {})
    if len(page) > LARGEST_PAGE:
        return "<p>The tree is too large for a notebook: <code>result.save_html(path)</code> writes it to a file.</p>"
    # Quoted by ', as JSON is full of the other one.
    source = page.replace("&", "&amp;").replace("'", "&#39;")
    return f"<iframe title='Search tree' srcdoc='{source}' height='{_HEIGHT}' style='{_STYLE}'></iframe>"


def _text(text: str) -> str:
    """`text` as HTML that UTF-8 can hold."""
    return escape(text).encode(errors="backslashreplace").decode()
