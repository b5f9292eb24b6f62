"""One choice of a generation, cut into pieces as it is drawn."""

from __future__ import annotations

from ...model import Tokenizer
from ..completion import Completion
from ..scheduler.branch import Branch
from ..text.live_text import LiveText
from .piece import Piece


class Choice:
    """Cuts the tokens and text that a branch draws into pieces.

    Attributes:
        branch: The branch.
        completion: All that the branch has drawn, set by `last`; None before.
    """

    def __init__(self, index: int, branch: Branch, tokenizer: Tokenizer | None) -> None:
        """Report on `branch`, which has drawn nothing yet, as choice number `index`."""
        self.branch = branch
        self.completion: Completion | None = None
        self._index = index
        self._live = None if tokenizer is None else LiveText(branch, tokenizer)
        self._tokens = 0
        self._characters = 0

    @property
    def is_new(self) -> bool:
        """Whether there is something to report: new tokens, or the end."""
        return self.completion is None and (self.branch.finished or self._tokens < len(self.branch.node.tokens))

    def more(self) -> Piece:
        """The piece of what a running branch has drawn since the previous piece."""
        text = "" if self._live is None else self._live.more()
        drawn = self.branch.drawn_since(self._tokens, text)
        self._tokens += len(drawn.token_ids)
        self._characters += len(text)
        return Piece(self._index, drawn)

    def last(self) -> Piece:
        """The last piece: what a finished branch has drawn since the previous piece."""
        self.completion = self.branch.completion()
        rest = self.completion.text[self._characters :]
        return Piece(self._index, self.completion.tail(self._tokens, rest))
