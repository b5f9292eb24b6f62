"""Fixtures that every part's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_checkpoint(kind, **overrides)`: a random checkpoint folder, written once per session; do not modify it."""
    written: dict[str, Path] = {}

    def write(kind: str, **overrides: Any) -> Path:
        key = repr((kind, sorted(overrides.items())))
        if key not in written:
            written[key] = tiny.write_tiny(tmp_path_factory.mktemp("tiny") / kind, kind, **overrides)
        return written[key]

    return write


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """`real_model(name)`: the path of a built-in model, fetched into the user's cache when it is not there."""
    from marcot.model import locate

    return locate
