"""What stands for CUDA graphs where there is no GPU."""

from __future__ import annotations

import torch
from marcot.model.decode_graph import Outputs, Run


class Tape:
    """Records like a GPU: outputs lie at fixed addresses, and every repetition makes those of all others invalid.

    Attributes:
        rows: The buckets that were recorded, in order.
    """

    def __init__(self) -> None:
        self.rows: list[int] = []
        self._outputs: list[Outputs] = []

    def __call__(self, run: Run) -> Run:
        run()
        outputs = run()
        self.rows.append(len(outputs.hidden))
        self._outputs.append(outputs)

        def repeat() -> Outputs:
            for other in self._outputs:
                other.hidden.fill_(torch.nan)
                other.results.fill_(0xFF)
            for kept, new in zip(outputs, run(), strict=True):
                kept.copy_(new)
            return outputs

        return repeat
