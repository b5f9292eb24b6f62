"""A chain while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..completion import FinishReason
from .actions import Action, Decode, Opening
from .piece import Piece
from .search_tree import SearchNode
from .signal import Signal
from .stretch import Stretch


class Part(NamedTuple):
    """A run of a chain.

    Attributes:
        kind: Kind of its nodes.
        whole: Whether it is one node; otherwise it is cut into actions.
        stretches: What was given and what was drawn, in order.
    """

    kind: str
    whole: bool
    stretches: list[Stretch]

    @property
    def token_ids(self) -> list[int]:
        """Its tokens."""
        return [token for stretch in self.stretches for token in stretch.token_ids]


@dataclass(slots=True, eq=False)
class Draft:
    """What is being written after `fork`.

    Attributes:
        fork: The tree node that it starts from.
        allowance: Tokens that it may still draw.
        parts: What was written so far.
        opening: How the action began that is being written, where actions have openings.
        spent: Tokens drawn for it.
        ended: Why the chain is finished; None while it is not.
        paused: The action that was asked for is finished, the chain is not.
        greedy: Its tokens are the most probable ones.
    """

    fork: SearchNode
    allowance: int
    parts: list[Part] = field(default_factory=list)
    opening: Opening | None = None
    spent: int = 0
    ended: FinishReason | None = None
    paused: bool = False
    greedy: bool = False

    @property
    def complete(self) -> bool:
        """Whether the model ended it itself."""
        return self.ended in ("eos", "stop")

    @property
    def last(self) -> Stretch:
        """Where it ends now."""
        written = [part.stretches[-1] for part in self.parts if part.stretches]
        return written[-1] if written else self.fork.piece.origin

    @property
    def kinds(self) -> list[str]:
        """Kinds of the actions from the prompt to here, where actions have openings."""
        return [*self.fork.kinds, *(part.kind for part in self.parts)]

    @property
    def drawn(self) -> int:
        """Drawn tokens from the prompt to here."""
        return self.fork.drawn + sum(stretch.drawn for part in self.parts for stretch in part.stretches)

    @property
    def token_ids(self) -> list[int]:
        """Everything that was written."""
        return [token for part in self.parts for token in part.token_ids]

    @property
    def signal(self) -> Signal:
        """What the model said of the tokens that it drew."""
        stretches = [stretch for part in self.parts for stretch in part.stretches if not stretch.given]
        return Signal.joined([Signal.of(stretch) for stretch in stretches])

    def begin(self, kind: str, whole: bool, *stretches: Stretch) -> None:
        """Begin another part."""
        self.parts.append(Part(kind, whole, list(stretches)))

    def add(self, stretch: Stretch) -> None:
        """Go on with what was drawn."""
        self.parts[-1].stretches.append(stretch)
        self.allowance -= stretch.drawn
        self.spent += stretch.drawn

    def retract(self) -> None:
        """Take back the last token: the model said that the chain ends here, and is to go on."""
        stretches = self.parts[-1].stretches
        branch, end = stretches.pop()
        if end > 1:
            stretches.append(Stretch(branch, end - 1))

    def head(self, tokens: int) -> list[Part]:
        """Parts with the first `tokens` tokens."""
        parts: list[Part] = []
        for part in self.parts:
            stretches = []
            for stretch in part.stretches:
                if length := min(tokens, stretch.end):
                    stretches.append(Stretch(stretch.branch, length))
                    tokens -= length
            if stretches:
                parts.append(Part(part.kind, part.whole, stretches))
        return parts

    def pieces(self, action: Action, decode: Decode) -> list[Piece]:
        """Cut what was written into nodes."""
        before = [token for node in self.fork.path for token in node.piece.token_ids]
        text = decode([*before, *(token for part in self.parts for token in part.token_ids)])
        begin = _settled(before, text, decode)
        pieces: list[Piece] = []
        for part in self.parts:
            token_ids = part.token_ids
            if not token_ids:  # the model wanted to end where it was to go on, and nothing was put into its mouth
                continue
            signal = Signal.joined([Signal.of(stretch) for stretch in part.stretches])
            ends = [len(token_ids)] if part.whole else action.cut(token_ids, decode, signal.confidences)
            for first, end in pairwise([0, *ends]):
                stop = _settled([*before, *token_ids[:end]], text, decode)
                heard = signal.part(first, end)
                piece = Piece(
                    token_ids=tuple(token_ids[first:end]),
                    text=text[begin:stop],
                    kind=part.kind,
                    drawn=len(heard.drawn().logprobs),
                    signal=heard,
                    origin=_origin(part.stretches, end),
                )
                pieces.append(piece)
                begin = stop
            before += token_ids
        return [piece for piece in pieces if piece.token_ids]


def _origin(stretches: Sequence[Stretch], end: int) -> Stretch:
    """The place after the first `end` tokens of `stretches`."""
    ends = list(accumulate(stretch.end for stretch in stretches))
    index = next(index for index, stop in enumerate(ends) if stop >= end)
    return Stretch(stretches[index].branch, end - (ends[index] - stretches[index].end))


def _settled(token_ids: Sequence[int], text: str, decode: Decode) -> int:
    """Characters of `text` that `token_ids`, the first of its tokens, settle; a character may span several tokens."""
    settled = decode(token_ids)
    while not text.startswith(settled):
        settled = settled[:-1]
    return len(settled)
