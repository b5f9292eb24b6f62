"""Tails that share tiles: which do, and what that costs."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from marcot.engine.forest import Even
from marcot.engine.tile_balance import even_cost, last_end, longest_pieces, piece_costs
from marcot.engine.tile_cost import TileCost, tile_cost
from marcot.engine.tile_cutting import Runs
from marcot.engine.tile_tails import ROOM, even_tails, shared, shared_costs


def test_tails_share_a_tile_where_that_is_cheaper() -> None:
    """Neighbours only, and no more than a tile may have; empty places cost products."""
    random, found = Random(0), 0
    for seed in range(200):
        cost = TileCost(512, 3640, random.choice([0, 4096, 8192, 1e5]), random.choice([0, 28, 252, 504]), 9)
        twigs, most = random.randint(1, 40), random.randint(2, 9)
        lengths = np.array([random.choice([1, 8, 9, 24, 25, 56, 119, 120, 121, 300]) for _ in range(twigs)] + [20])
        rows = np.cumsum([random.choice([1, 1, 1, 2]) for _ in lengths])
        none = np.zeros_like(lengths)
        tails = shared(Runs(none, none, lengths, rows, none + 1), twigs, cost, most)
        assert tails.others(len(lengths)).sum() == len(lengths) - tails.rows.sum()
        end = 0
        for first, count, width, tokens in zip(*tails, strict=True):
            own = lengths[first : first + count]
            assert end <= first <= first + count <= twigs, f"seed {seed}"
            assert 2 <= count <= most
            assert (np.diff(rows[first : first + count]) == 1).all()
            assert tokens == own.sum()
            assert width == max(16, 1 << int(own.max() + ROOM - 1).bit_length()) <= 128
            alone = (max(cost.token, cost.product) * own + cost.tile).sum()
            assert max(cost.token * tokens, cost.product * count * width) + cost.tile < alone
            end = first + count
            found += 1
    assert found > 200


@pytest.mark.parametrize("tails", [[32] * 256, [1] * 64, [*range(1, 60)] * 3, [5] * 9 + [200] * 9 + [5] * 10])
def test_a_step_does_not_end_later_where_tails_share_tiles(tails: list[int]) -> None:
    cost = tile_cost(group=7, head_dim=128, value_bytes=2, block=9)
    rows = np.arange(len(tails))
    none = np.zeros(len(tails) + 1, np.int64)
    runs = Runs(none, none, np.array([*tails, 500]), np.append(rows, 0), np.append(none[1:] + 1, len(tails)))
    most, end = even_cost(runs, cost, 66)
    total = float(piece_costs(runs, cost, longest_pieces(runs, cost, most)).sum())
    even = even_tails(runs, len(tails), cost, 66, Even(most, end, total, 1))
    assert even.together > 1
    assert even.end <= end
    assert even.total < total
    costs = shared_costs(runs, cost, longest_pieces(runs, cost, most), shared(runs, len(tails), cost, even.together))
    assert even.end == last_end(costs, 66)
    assert even.total == costs.sum()
