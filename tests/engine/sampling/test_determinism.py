"""A few trials of the attack on determinism. `make attack ATTACK=determinism` runs as many as you like."""

from __future__ import annotations

from random import Random

import pytest
import torch
from attack.determinism import attack
from marcot.kernels import select
from support.programs import system_tools


@pytest.mark.parametrize("trial", range(12))
def test_branches_alone_and_in_a_batch(trial: int) -> None:
    if not select(torch.device("cpu")).deterministic:
        pytest.skip(system_tools.why_skipped("g++"))
    assert attack(Random(f"test:{trial}")).differences == []
