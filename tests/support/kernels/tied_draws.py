"""LM heads whose draws are decided by the last bits of a score, and whose best tokens by token id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from marcot.kernels import Draw, HeadTopK, Kernels
from marcot.kernels.reference.philox import gumbel
from torch import Tensor

_TIED = 6


class TiedDraws(NamedTuple):
    """Rows that draw among tokens whose scores are equal up to a few units in the last place.

    Attributes:
        hidden: `[rows, rows]` fp32, one-hot, so that a product is one weight and has no rounding.
        weight: `[vocab, rows]` fp32.
        draw: The draws of the rows.
    """

    hidden: Tensor
    weight: Tensor
    draw: Draw

    def check_in_batches(self, ops: Kernels, device: torch.device, widths: Sequence[int]) -> None:
        """Check that rows give the same alone, in part and in reverse, with each of these numbers of best tokens."""
        packed = ops.pack_linear([self.weight], torch.float32, device)

        def head(rows: Tensor, k: int) -> HeadTopK:
            draw = Draw(*(field[rows].to(device) for field in self.draw))
            return ops.lm_head_topk(self.hidden[rows].to(device), packed, k, None, draw)

        everything = torch.arange(len(self.hidden))
        widest = head(everything, widths[-1])
        some = (everything[:1], everything[-1:], everything.flip(0), everything[3:])
        for number, k in enumerate(widths):
            rows = some[number % len(some)]
            for name, field, full in zip(HeadTopK._fields, head(rows, k), widest, strict=True):
                if field is not None and full is not None:
                    expected = full[rows.to(full.device)]
                    best = expected[:, :k] if full.ndim == 2 else expected
                    assert torch.equal(field, best), f"{name} of rows {rows.tolist()} with {k} tokens"


def tied_draws(rows: int, vocab: int) -> TiedDraws:
    """Make `rows` rows, in each of which some tokens of the vocabulary have about the largest score."""
    random = torch.Generator().manual_seed(rows * vocab)
    temperature = torch.tensor([0.5, 1.0, 1.3]).repeat(rows)[:rows]
    key = torch.randint(-(2**62), 2**62, (rows,), generator=random)
    position = torch.randint(0, 2**17, (rows,), generator=random)
    noise = gumbel(key, position, torch.arange(vocab)[None])
    logits = (torch.randn(rows, vocab, generator=random) * 4).round() / 4  # so that many are equal
    score = logits / temperature[:, None] + noise
    for row in range(rows):
        tied = torch.randperm(vocab, generator=random)[:_TIED]
        ulps = torch.randint(-2, 3, (_TIED,), generator=random)
        wanted = score[row].max() * (1 + ulps * 2.0**-23)
        logits[row, tied] = (wanted - noise[row, tied]) * temperature[row]
    return TiedDraws(torch.eye(rows), logits.t().contiguous(), Draw(temperature, key, position))
