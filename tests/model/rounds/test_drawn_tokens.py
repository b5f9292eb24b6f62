"""Drawn tokens in one table, against their columns."""

from __future__ import annotations

import numpy as np
import pytest
from marcot.model import DrawnTokens
from numpy.typing import NDArray

COLUMNS = ("ids", "logits", "lse", "top_ids", "top_logits")


def columns(tokens: int, k: int, seed: int) -> list[NDArray[np.generic]]:
    """Random tokens; the last logit belongs to a token that is no candidate."""
    random = np.random.default_rng(seed)
    ids, top_ids = random.integers(0, 2**31 - 1, tokens), random.integers(0, 2**31 - 1, (tokens, k))
    logits, lse, top_logits = (random.normal(size=shape).astype(np.float32) for shape in (tokens, tokens, (tokens, k)))
    top_logits[..., -1:] = -np.inf
    return [ids, logits, lse, top_ids, top_logits]


def test_columns_come_back_bit_by_bit() -> None:
    given = columns(7, 3, seed=1)
    drawn = DrawnTokens.of(*given)
    for name, column in zip(COLUMNS, given, strict=True):
        np.testing.assert_array_equal(getattr(drawn, name), column)
    assert [getattr(drawn, name).dtype for name in COLUMNS] == [np.int32, np.float32, np.float32, np.int32, np.float32]


def test_columns_may_be_views_in_any_order() -> None:
    given = [column.reshape(2, 3, *column.shape[1:]).swapaxes(0, 1) for column in columns(6, 5, seed=2)]
    drawn = DrawnTokens.of(*given)
    assert drawn.table.shape == (3, 2, 13)
    for name, column in zip(COLUMNS, given, strict=True):
        np.testing.assert_array_equal(getattr(drawn, name), column)


@pytest.mark.parametrize("widths", [(4, 4), (9, 4), (4, 64, 5)])
def test_joined_tables_have_as_many_candidates_as_were_asked_for(widths: tuple[int, ...]) -> None:
    """The neighbours of a branch may ask for more candidates."""
    given = [columns(1 + number, width, seed=number) for number, width in enumerate(widths)]
    drawn = DrawnTokens.joined([DrawnTokens.of(*each).table for each in given], 4)
    for name, of_each in zip(COLUMNS, zip(*given, strict=True), strict=True):
        cut = [column[:, :4] if column.ndim == 2 else column for column in of_each]
        np.testing.assert_array_equal(getattr(drawn, name), np.concatenate(cut))


def test_nothing_was_drawn() -> None:
    drawn = DrawnTokens.joined([], 20)
    assert drawn.ids.shape == drawn.logits.shape == drawn.lse.shape == (0,)
    assert drawn.top_ids.shape == drawn.top_logits.shape == (0, 0)
