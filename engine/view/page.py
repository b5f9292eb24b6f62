"""A finished search as one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..search.answers import normalise_answer
from .formulas import answer_formulas, find_formulas
from .mathml import Markup
from .scale import DARK, EXPONENT, STOPS
from .tree_json import encodable, tree_object

if TYPE_CHECKING:
    from ..search import SearchResult

SCRIPTS = (
    *("result.js", "formulas.js", "boxes.js", "colours.js", "drawing.js"),
    *("details.js", "legend.js", "controls.js", "pointer.js"),
)
"""The files that make up the page's script, in order; together they form one module."""

_MARKS = (b'<meta name="generator" content="marcot search">', b"<title>marcot search</title>")
"""Strings near the start of a page that identify it; older pages have only the second."""


def to_page(result: SearchResult, settings: Mapping[str, Any]) -> str:
    """Return the page: the files of `assets/` combined into one, with the result embedded as JSON.

    The page loads nothing and runs only its own script, whose hash is in its content security policy. Text that a model
    wrote cannot become markup: the script only ever sets it as text, and the JSON contains no `<` that could end its
    script element.

    Args:
        result: The search.
        settings: The settings of the search, by name.
    """
    style, script = "\n".join(map(asset, ("theme.css", "page.css"))), "\n".join(map(asset, SCRIPTS))
    data = {
        "result": tree_object(result, settings),
        "answer_keys": [normalise_answer(rollout.answer) for rollout in result.rollouts],
        "scale": {"stops": STOPS, "dark": DARK, "exponent": EXPONENT},
        **_formulas(result),
    }
    text = encodable(json.dumps(data, ensure_ascii=False, allow_nan=False)).replace("<", "\\u003c")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    page = asset("page.html")
    # The data comes last, because it may contain text that looks like another placeholder.
    for place, part in (("POLICY", policy), ("STYLE", style), ("SCRIPT", script), ("DATA", text)):
        page = page.replace(f"{{{{{place}}}}}", part, 1)
    return page


def is_page(head: bytes) -> bool:
    """Whether a file that begins with `head` was made by `to_page`."""
    return head.startswith(b"<!doctype html>") and any(mark in head for mark in _MARKS)


def asset(name: str) -> str:
    """The contents of a file in `assets/`."""
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _formulas(result: SearchResult) -> dict[str, Any]:
    """The distinct MathML formulas, and their positions in each text, in UTF-16 code units as JavaScript counts."""
    markups: dict[str, int] = {}
    trees: list[Markup] = []
    places: dict[str, list[tuple[int, int, int]]] = {}
    answers = dict.fromkeys([result.answer, *(rollout.answer for rollout in result.rollouts)])
    for text in dict.fromkeys([result.question, *answers, *(node.text for node in result.tree)]):
        found = answer_formulas(text) if text in answers else find_formulas(text)
        for start, end, markup in found:
            key = markup.to_html()
            if markups.setdefault(key, len(trees)) == len(trees):
                trees.append(markup)
            places.setdefault(text, []).append((_units(text[:start]), _units(text[:end]), markups[key]))
    return {"formulas": places, "markups": trees}


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
