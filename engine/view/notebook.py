"""A finished search as the output of a notebook cell."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .page import to_page

if TYPE_CHECKING:
    from ..search import SearchResult

LARGEST_PAGE = 2_000_000
"""Maximum page size in characters; larger pages are left out because a notebook stores every output in its file."""

_HEIGHT = 640
"""Height of the frame in pixels: enough for the page's controls and a tree."""

_STYLE = "width: 100%; border: 1px solid #8886; border-radius: 6px"


def to_notebook(result: SearchResult) -> str:
    """Return HTML with the answer and its chain, followed by a frame that shows the page of the tree.

    The frame is self-contained and isolated from the notebook's styles. Viewers that show no frames or run no scripts
    still show the answer and its chain.
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
    # The attribute is quoted with ' because JSON is full of double quotes.
    source = page.replace("&", "&amp;").replace("'", "&#39;")
    return f"<iframe title='Search tree' srcdoc='{source}' height='{_HEIGHT}' style='{_STYLE}'></iframe>"


def _text(text: str) -> str:
    """`text` as escaped HTML that can be encoded in UTF-8."""
    return escape(text).encode(errors="backslashreplace").decode()
