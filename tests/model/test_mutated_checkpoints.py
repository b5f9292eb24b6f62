"""A small part of `tests/attack/checkpoints.py`: mutants are refused with typed errors, or work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fuzzing.bases import write_bases
from fuzzing.worker import Worker

_BATCHES = 4
_IN_A_BATCH = 75


@pytest.fixture(scope="module")
def worker(tmp_path_factory) -> Iterator[Worker]:
    bases = tmp_path_factory.mktemp("bases")
    write_bases(bases)
    worker = Worker(bases)
    yield worker
    worker.close()


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_mutants_are_refused_or_work(batch, worker):
    names = [f"0:{number}" for number in range(batch * _IN_A_BATCH, (batch + 1) * _IN_A_BATCH)]
    outcomes = {name: worker.run(name) for name in names}
    assert {name: outcome.told for name, outcome in outcomes.items() if outcome.finding} == {}
    kinds = {outcome.kind for outcome in outcomes.values()}
    assert "works" in kinds, "every mutant was refused: they do not get far"
    assert "refused: CheckpointError" in kinds
