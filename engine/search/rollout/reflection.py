"""Marco-o1's reflection: the model is asked to rethink a finished thought (arXiv 2411.14405, section 5)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

REFLECTION = "Wait! Maybe I made some mistakes! I need to rethink from scratch."
"""The paper's sentence, verbatim."""

_THOUGHT_END = re.compile(r"</(?:thought|think)>", re.IGNORECASE)
_TAG = re.compile(r"</?[\w|]+>")


def thought_length(token_ids: Sequence[int], ended_by_eos: bool, decode: Callable[[Sequence[int]], str]) -> int:
    """Return how many tokens of a finished chain are its thought; the reflection goes after them.

    A thought ends before its closing tag. Without one, it ends where the chain does, before any end-of-sequence token.

    Args:
        token_ids: The tokens of the chain.
        ended_by_eos: Whether the last token is an end-of-sequence token.
        decode: Text of token ids.
    """
    words = len(token_ids) - ended_by_eos
    text = decode(token_ids[:words])
    match = _THOUGHT_END.search(text)
    if match is None:
        return words
    end = len(text[: match.start()].rstrip())
    return bisect_right(range(words + 1), end, key=lambda count: len(decode(token_ids[:count]))) - 1


def separated(text: str, before: str) -> str:
    """Return `text` with the line feeds that make it a separate paragraph after `before`."""
    return text if before.endswith("\n") or not before else "\n\n" + text


def conclusion(text: str) -> str:
    """Return the text after a chain's thought and last reflection, or the whole text if nothing follows them.

    A thought ends with its last `</think>` or `</Thought>`. (The opening tag may be in the template instead of the
    text.) A thought without an end has no conclusion yet; its answers are guesses, as in every chain that was cut
    short.
    """
    for end in [match.end() for match in _THOUGHT_END.finditer(text)][-1:]:
        text = text[end:] if _TAG.sub("", text[end:]).strip() else text
    after = text.rpartition(REFLECTION)[2]
    return after if after.strip() else text
