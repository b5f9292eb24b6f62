"""Convert TeX to MathML, which browsers render without a script."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape, unescape
from typing import NamedTuple
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element

LONGEST = 1000
"""Maximum number of characters of TeX to convert; formulas in solutions are shorter."""

_DEEPEST = 40
"""Maximum nesting of elements, because recursive code reads a page."""

_ELEMENTS = {
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mstyle", "mpadded", "mphantom"),
    *("mfrac", "msqrt", "mroot", "msub", "msup", "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd"),
}
_CHILDREN = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}
"""Elements with a fixed number of children; with any other number, browsers show an error or nothing."""

_ATTRIBUTES = {
    name: re.compile(value)
    for name, value in {
        "display": "inline|block",
        "displaystyle|stretchy|fence|separator|accent|accentunder|largeop|movablelimits": "true|false",
        "scriptlevel": "[012]",
        "form": "prefix|infix|postfix",
        "mathvariant": "normal",
        "columnalign": "left|right|center",
        "linethickness": "0|0px",
        "width|lspace|rspace|minsize|maxsize": r"-?\d?(\.\d+)?(em|ex)",
    }.items()
}
"""Allowed attributes and their values: none that links, colours or moves anything."""


class Markup(NamedTuple):
    """A MathML element.

    Attributes:
        tag: Name of the element.
        attributes: Values of its attributes by name.
        children: Child elements and text.
    """

    tag: str
    attributes: dict[str, str]
    children: list[Markup | str]

    def to_html(self) -> str:
        """The element as HTML source."""
        attributes = "".join(f' {name}="{escape(value)}"' for name, value in self.attributes.items())
        inside = "".join(escape(each) if isinstance(each, str) else each.to_html() for each in self.children)
        return f"<{self.tag}{attributes}>{inside}</{self.tag}>"


@lru_cache(maxsize=4096)
def mathml(tex: str, display: str = "inline") -> Markup | None:
    """Convert TeX to MathML.

    Args:
        tex: TeX as a model wrote it, without delimiters.
        display: `"inline"` or `"block"`.

    Returns:
        The formula; None if `tex` is empty, too long, malformed, or converts to unsupported MathML.
    """
    if not tex.strip() or len(tex) > LONGEST:
        return None
    try:
        root = convert_to_element(tex, display=display)
    except Exception:
        # On malformed TeX the library's parser can raise any kind of exception.
        return None
    markup = _checked(root, _DEEPEST)
    return None if markup is None or _is_empty(markup) else markup


def _checked(element: Element, depth: int) -> Markup | None:
    """`element` without attributes that are not allowed; None if an element is not allowed or has the wrong form."""
    tag, attributes = element.tag, {}
    if tag == "menclose" and element.get("notation") == "box":
        tag, attributes = "mrow", {"class": "boxed"}
    if depth == 0 or tag not in _ELEMENTS:
        return None
    for name, value in element.attrib.items():
        if any(re.fullmatch(names, name) and allowed.fullmatch(value) for names, allowed in _ATTRIBUTES.items()):
            attributes[name] = value
    text = unescape(element.text or "")
    if "\\" in text:
        return None
    children: list[Markup | str] = [text] if text else []
    for each in element:
        child = _checked(each, depth - 1)
        if child is None:
            return None
        children.append(child)
    return Markup(tag, attributes, children) if len(children) == _CHILDREN.get(tag, len(children)) else None


def _is_empty(markup: Markup) -> bool:
    return all(isinstance(each, Markup) and _is_empty(each) for each in markup.children)
