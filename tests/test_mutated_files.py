"""Damaged files are read or refused in one line. `tests/attack/readers.py` does the same for hours."""

from __future__ import annotations

from random import Random

import pytest
from attack.readers import TARGETS, Herd


@pytest.fixture(scope="module")
def herd() -> Herd:
    return Herd()


@pytest.mark.parametrize("kind", TARGETS)
def test_whatever_a_file_holds_is_read_or_refused(herd: Herd, kind: str) -> None:
    for trial in range(25):
        _, found = herd.attack(Random(f"{kind} {trial}"), kind)
        assert not found, trial
