"""Times `marcot.kernels` as a library on a CPU beside torch's attention: `python -m bench.attention.as_library`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final, NamedTuple

import cpuinfo
import numpy as np
import torch
import typer
from marcot import kernels
from marcot.kernels import KVSegment
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

BRANCHES: Final = (1, 8, 32, 128)
PREFIX, OWN = 1024, 32
"""Number of tokens that all branches share, and of further tokens of each branch."""

HEADS, KV_HEADS, HEAD_DIM = 14, 2, 64
"""Qwen2.5-0.5B."""

ROUNDS: Final = 15
TOLERANCE: Final = 1e-4


class Times(NamedTuple):
    """Milliseconds of processor time, medians over all rounds.

    Attributes:
        branches: Number of branches, each with one query.
        plan: `plan_tree`, once per step.
        tree: `tree_attention`, once per layer.
        copies: Torch's attention, in a batch with the prefix copied for each branch.
        mask: Torch's attention over all tokens at once, under a mask of the tree.
    """

    branches: int
    plan: float
    tree: float
    copies: float
    mask: float


class Case:
    """One layer's K and V of some branches in three layouts, and a query for each branch."""

    def __init__(self, branches: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        tokens = PREFIX + branches * OWN
        self.k, self.v = torch.randn(2, tokens, KV_HEADS, HEAD_DIM, generator=random)
        self.q = torch.randn(branches, HEADS, HEAD_DIM, generator=random)
        pages = -(-PREFIX // kernels.PAGE_SIZE)
        own = -(-OWN // kernels.PAGE_SIZE)
        self.segments = [KVSegment(-1, PREFIX, range(pages))]
        self.segments += [KVSegment(0, OWN, range(pages + i * own, pages + (i + 1) * own)) for i in range(branches)]
        self.queries = [(number, 1) for number in range(1, branches + 1)]
        self.pages = torch.zeros(2, pages + branches * own, KV_HEADS, kernels.PAGE_SIZE, HEAD_DIM)
        slots = [slot for segment in self.segments for slot in segment.slots]
        kernels.store_kv(self.k, self.v, slots, self.pages[0], self.pages[1])
        self.tree_plan = self.plan()
        self.mask = torch.zeros(branches, tokens, dtype=torch.bool)
        self.mask[:, :PREFIX] = True
        for number in range(branches):
            self.mask[number, PREFIX + number * OWN : PREFIX + (number + 1) * OWN] = True
        self.copied = [
            torch.stack([x[row] for row in self.mask]).transpose(1, 2).contiguous() for x in (self.k, self.v)
        ]
        self.whole = [x.transpose(0, 1)[None].contiguous() for x in (self.k, self.v)]

    def plan(self) -> kernels.TreePlan:
        """The plan of the step."""
        return kernels.plan_tree(self.segments, self.queries, self.pages[0], HEADS)

    def by_tree(self) -> Tensor:
        """`tree_attention`."""
        return kernels.tree_attention(self.q, self.pages[0], self.pages[1], self.tree_plan)

    def by_copies(self) -> Tensor:
        """A batch of branches, each with a copy of the prefix."""
        return scaled_dot_product_attention(self.q[:, :, None], self.copied[0], self.copied[1], enable_gqa=True)[
            :, :, 0
        ]

    def by_mask(self) -> Tensor:
        """One batch entry with all tokens, and a mask."""
        q, (k, v) = self.q.transpose(0, 1)[None], self.whole
        return scaled_dot_product_attention(q, k, v, attn_mask=self.mask, enable_gqa=True)[0].transpose(0, 1)


def measure(branches: int, rounds: int) -> Times:
    """Time all methods in turns, on one thread, and check that their results agree."""
    torch.set_num_threads(1)
    case = Case(branches, seed=branches)
    ways: Sequence[Callable[[], object]] = (case.plan, case.by_tree, case.by_copies, case.by_mask)
    for other in (case.by_copies(), case.by_mask()):
        torch.testing.assert_close(case.by_tree(), other, atol=TOLERANCE, rtol=TOLERANCE)
    seconds = np.zeros((rounds, len(ways)))
    for number in range(rounds):
        for column, way in enumerate(ways):
            start = time.thread_time()
            way()
            seconds[number, column] = time.thread_time() - start
    return Times(branches, *(np.median(seconds, axis=0) * 1e3).tolist())


def table(times: Sequence[Times]) -> Table:
    """A table with one row per number of branches."""
    shown = Table(title=f"ms of processor time: {PREFIX:,} shared tokens and {OWN} of each branch, fp32, one thread")
    for name in ("branches", "plan", "tree", "copies", "mask", "copies / tree", "mask / tree"):
        shown.add_column(name, justify="right")
    for each in times:
        ratios = (f"{other / each.tree:.1f}x" for other in (each.copies, each.mask))
        shown.add_row(str(each.branches), *(f"{part:.2f}" for part in each[1:]), *ratios)
    return shown


def as_library(rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = ROUNDS) -> None:
    """Time attention over a tree with the library and with torch."""
    console = Console()
    console.print(cpuinfo.get_cpu_info().get("brand_raw", "unknown"))
    console.print(table([measure(branches, rounds) for branches in BRANCHES]))


if __name__ == "__main__":
    typer.run(as_library)
