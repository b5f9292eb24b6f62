"""What `make bench-cpu` refuses before it times anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.cpu import conftest

GOOD = {"models": "smollm2-135m", "branches": "1 64", "contestants": "marcot-fast llama.cpp"}
BAD = {
    "model": ({"models": "/nowhere"}, "no model called '/nowhere'"),
    "contestant": ({"contestants": "marcot-fast martco"}, "no contestant is called martco: "),
    "too many branches": ({"branches": "1 65"}, "branches must be from 1 to 64, not 65"),
    "no branches": ({"branches": "0"}, "branches must be from 1 to 64, not 0"),
    "branches in words": ({"branches": "one"}, "branches must be from 1 to 64, not one"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD.keys())
def test_wrong_options(options: dict[str, str], message: str) -> None:
    session: Any = SimpleNamespace(config=SimpleNamespace(getoption=(GOOD | options).__getitem__))
    with pytest.raises(pytest.exit.Exception, match=message):
        conftest.pytest_sessionstart(session)
