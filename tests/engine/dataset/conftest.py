from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def marco_samples() -> Path:
    """Marco-o1's demonstration data (Apache-2.0, see the NOTICE beside it)."""
    return Path(__file__).parent / "data" / "marco_cot_demo.json"
