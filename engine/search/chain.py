"""A sampled rollout on its way into the tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..completion import FinishReason
from .action import Action
from .piece import Piece
from .search_tree import SearchNode
from .stretch import Stretch


@dataclass(frozen=True, slots=True)
class Chain:
    """A rollout from `fork`.

    Attributes:
        fork: The tree node that it starts from.
        stretches: What was generated, and in a reflected chain also what was given, in order.
    """

    fork: SearchNode
    stretches: tuple[Stretch, ...]

    @property
    def finish_reason(self) -> FinishReason:
        """Why it ended."""
        reason = self.stretches[-1].branch.finish_reason
        assert reason is not None, "a chain ends with a branch that was drawn"
        return reason

    @property
    def complete(self) -> bool:
        """Whether the model ended it itself."""
        return self.finish_reason in ("eos", "stop")

    @property
    def drawn(self) -> int:
        """Drawn tokens from the prompt to the end."""
        return self.fork.drawn + sum(stretch.drawn for stretch in self.stretches)

    def pieces(self, action: Action, decode: Callable[[Sequence[int]], str]) -> list[Piece]:
        """Cut what follows the fork into actions; a reflection is a piece of its own."""
        token_ids = [token for node in reversed(list(self.fork.chain)) for token in node.piece.token_ids]
        start = len(token_ids)
        token_ids += [token for stretch in self.stretches for token in stretch.token_ids]
        text = decode(token_ids)
        begin = _certain(token_ids[:start], text, decode)
        pieces: list[Piece] = []
        for stretch in self.stretches:
            ends = [stretch.end] if stretch.given else action.cut(stretch.token_ids, decode)
            for last, end in pairwise([0, *ends]):
                stop = _certain(token_ids[: start + end], text, decode)
                confidences = stretch.branch.confidences[last:end]
                piece = Piece(
                    token_ids=tuple(token_ids[start + last : start + end]),
                    text=text[begin:stop],
                    drawn=len(confidences),
                    confidence=float(confidences.sum(dtype="float64")),
                    origin=Stretch(stretch.branch, end),
                )
                pieces.append(piece)
                begin = stop
            start += stretch.end
        return pieces


def _certain(token_ids: Sequence[int], text: str, decode: Callable[[Sequence[int]], str]) -> int:
    """Characters of `text` that `token_ids`, the first of its tokens, settle; a character may span several tokens."""
    settled = decode(token_ids)
    while not text.startswith(settled):
        settled = settled[:-1]
    return len(settled)
