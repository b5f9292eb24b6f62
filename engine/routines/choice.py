"""One choice of a generation, as it is told."""

from __future__ import annotations

from ...model import Tokenizer
from ..completion import Completion
from ..scheduler.branch import Branch
from ..text.live_text import LiveText
from .piece import Piece


class Choice:
    """Cuts what a branch draws into pieces.

    Attributes:
        branch: It.
        completion: All that it has drawn, once it is over and that has been told.
    """

    def __init__(self, index: int, branch: Branch, tokenizer: Tokenizer | None) -> None:
        """Tell of `branch`, which has drawn nothing yet, as choice number `index`."""
        self.branch = branch
        self.completion: Completion | None = None
        self._index = index
        self._live = None if tokenizer is None else LiveText(branch, tokenizer)
        self._tokens = 0
        self._characters = 0

    @property
    def is_new(self) -> bool:
        """Whether there is something to be told."""
        return self.completion is None and (self.branch.finished or self._tokens < len(self.branch.node.tokens))

    def more(self) -> Piece:
        """What a branch that goes on has drawn since the last piece."""
        text = "" if self._live is None else self._live.more()
        drawn = self.branch.drawn_since(self._tokens, text)
        self._tokens += len(drawn.token_ids)
        self._characters += len(text)
        return Piece(self._index, drawn)

    def last(self) -> Piece:
        """What a branch that is over has drawn since the last piece."""
        self.completion = self.branch.completion()
        rest = self.completion.text[self._characters :]
        return Piece(self._index, self.completion.tail(self._tokens, rest))
