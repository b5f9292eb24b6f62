"""Samples and results to make data sets of."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.searches.dataset_runs import searches
from support.searches.finished_searches import write_lines


@pytest.fixture(scope="session")
def marco_samples() -> Path:
    """Marco-o1's demonstration data (Apache-2.0, see the NOTICE beside it)."""
    return Path(__file__).parent / "data" / "marco_cot_demo.json"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A file of forty searches."""
    return write_lines(tmp_path / "results.jsonl", searches(40))
