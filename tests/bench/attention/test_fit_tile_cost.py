"""How the cost model is fitted to measured times."""

from __future__ import annotations

import numpy as np
import pytest
from marcot.kernels.plan.tile_cost import MEASURED, Prices, Work, modelled_us

from bench.attention.fit_tile_cost import Timed, counting, errors, fitted, read

SHAPES = ((64, 16), (128, 64), (64, 128))


def timed(number: int, prices: Prices) -> Timed:
    random = np.random.default_rng(number)
    tiles = int(random.integers(4, 400))
    blocks = tiles * int(random.integers(1, 20))
    work = Work(
        tiles, blocks, int(random.integers(1, 40)), int(random.integers(1, tiles)), int(random.integers(2, 20)), 50_000
    )
    each = Timed("model", f"tree {number}", "chosen", *SHAPES[number % 3], 66, work, 0.0)
    return each._replace(us=modelled_us(each.cost(prices), work))


def test_prices_are_found_again() -> None:
    prices = Prices(4.0, 1.1, 1.0, 2.0, 0.8, 0.5, 4.0, 0.03)
    found = fitted([timed(number, prices) for number in range(60)])
    assert found == pytest.approx(prices, rel=0.02)


def test_plans_that_are_much_too_slow_do_not_count() -> None:
    one = timed(1, MEASURED)
    others = [one._replace(us=one.us * times) for times in (1.6, 1.8)]
    assert counting([one, *others, timed(2, MEASURED)]) == [one, others[0], timed(2, MEASURED)]


def test_the_prices_in_use_are_those_that_fit_the_measured_times() -> None:
    near = counting(read())
    assert len(near) > 300
    off = errors(near, MEASURED)
    assert np.sqrt((off**2).mean()) < 0.1
    rng = np.random.default_rng(0)
    weights = [3.0 if each.plan == "chosen" else 1.0 for each in near]
    for _ in range(5):
        other = Prices(*(np.array(MEASURED) * rng.choice([0.85, 1.15], len(MEASURED))).tolist())
        assert weights @ errors(near, other) ** 2 > weights @ off**2
