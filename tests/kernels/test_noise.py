"""The noise of a few candidates against the specification's noise of full rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from marcot.kernels.reference import philox
from marcot.kernels.reference.pick import gumbel


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 20), (3, 7), (33, 64)], ids=str)
def test_noise_is_the_specified_one(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows * columns)
    key = random.integers(-(2**63), 2**63, rows)
    position = random.integers(0, 131_072, rows)
    ids = random.integers(0, 151_936, (rows, columns))
    expected = philox.gumbel(*map(torch.from_numpy, (key, position, ids))).numpy()
    got = gumbel(key, position, ids)
    assert got.dtype == np.float32
    last_bit = np.spacing(np.maximum(np.abs(expected), np.float32(1)))
    assert (np.abs(got - expected) <= last_bit).all()


@pytest.mark.parametrize("bits", [0, -1, 2**63 - 1, -(2**63)], ids=["zeros", "ones", "largest", "smallest"])
def test_extreme_keys_and_counters(bits: int) -> None:
    key, position = np.array([bits]), np.array([2**31 - 1])
    ids = np.array([[0, 1, 2, 3, 4, 2**31 - 4, 2**31 - 1]])
    expected = philox.gumbel(*map(torch.from_numpy, (key, position, ids))).numpy()
    np.testing.assert_allclose(gumbel(key, position, ids), expected, rtol=0, atol=1e-6)
