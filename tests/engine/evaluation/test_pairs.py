"""McNemar's test and the interval of a paired difference, by brute force."""

from __future__ import annotations

import itertools
import math

import pytest
from marcot.engine.evaluation import Pairs


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 6), (3, 3), (2, 7), (9, 1), (5, 6)])
def test_p_value_counts_every_way_the_differing_answers_could_have_fallen(first: int, second: int) -> None:
    differing = first + second
    lopsided = abs(first - second)
    falls = itertools.product((-1, 1), repeat=differing)
    as_uneven = sum(abs(sum(fall)) >= lopsided for fall in falls)
    assert Pairs(4, first, second, 3).p_value == pytest.approx(as_uneven / 2**differing)


def test_counts_and_difference() -> None:
    answers = [(True, True), (True, False), (False, True), (False, True), (False, False), (False, True)]
    pairs = Pairs.of(answers)
    assert pairs == (1, 1, 3, 1)
    assert pairs.difference == pytest.approx(2 / 6)
    assert pairs.interval.low < pairs.difference < pairs.interval.high


@pytest.mark.parametrize(("only_first", "only_second"), [(0.05, 0.05), (0.1, 0.3), (0.25, 0.25), (0.02, 0.2)])
def test_the_interval_holds_the_difference_about_as_often_as_it_says(only_first: float, only_second: float) -> None:
    count, covered = 40, 0.0
    agreeing = 1 - only_first - only_second
    for first in range(count + 1):
        for second in range(count + 1 - first):
            rest = count - first - second
            ways = math.comb(count, first) * math.comb(count - first, second)
            chance = ways * only_first**first * only_second**second * agreeing**rest
            low, high = Pairs(rest, first, second, 0).interval
            covered += chance * (low <= only_second - only_first <= high)
    assert 0.925 < covered < 0.995


def test_the_interval_is_about_the_pairs_and_not_about_two_samples() -> None:
    alike, unlike = Pairs(50, 2, 4, 44), Pairs(30, 22, 24, 24)
    assert alike.difference == unlike.difference
    assert alike.interval.high - alike.interval.low < 0.5 * (unlike.interval.high - unlike.interval.low)


def test_thousands_of_differing_answers_have_a_p_value() -> None:
    normal = math.erfc((5100 - 4900 - 1) / math.sqrt(2 * (5100 + 4900)))  # with continuity correction
    assert Pairs(0, 5100, 4900, 0).p_value == pytest.approx(normal, rel=0.01)
    assert Pairs(0, 3000, 0, 0).p_value == 0.0


def test_nothing_in_common_has_no_difference() -> None:
    assert math.isnan(Pairs.of([]).difference)
