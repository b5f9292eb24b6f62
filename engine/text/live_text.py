"""The text of a branch while it is decoded, for streaming."""

from __future__ import annotations

from ...model import Tokenizer
from ..scheduler.branch import Branch


class LiveText:
    """The part of a branch's text that is certain: everything that `more` returns is in the final text.

    It holds back bytes that are not a whole character yet, and the beginning of a possible stop string.
    """

    def __init__(self, branch: Branch, tokenizer: Tokenizer) -> None:
        """Follow `branch`, which has drawn nothing yet."""
        self._branch = branch
        self._stream = tokenizer.stream()
        self._read = 0
        self._held = ""

    def more(self) -> str:
        """The text that has become certain since the last call; call it only while the branch runs."""
        tokens = self._branch.node.tokens
        for token in tokens[self._read :]:
            self._held += self._stream.push(token)
        self._read = len(tokens)
        certain = len(self._held) - max((_overlap(self._held, stop) for stop in self._branch.sampling.stop), default=0)
        text, self._held = self._held[:certain], self._held[certain:]
        return text


def _overlap(text: str, stop: str) -> int:
    """The length of the longest suffix of `text` that is a proper prefix of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
