"""What `make bench-cpu` refuses before it times anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.cpu import conftest

BAD = {
    "model": ({"models": "/nowhere", "contestants": "marcot-fast"}, "no model called '/nowhere'"),
    "contestant": ({"models": "/nowhere", "contestants": "marcot-fast martco"}, "no contestant is called martco: "),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD.keys())
def test_wrong_options(options: dict[str, str], message: str) -> None:
    session: Any = SimpleNamespace(config=SimpleNamespace(getoption=options.__getitem__))
    with pytest.raises(pytest.exit.Exception, match=message):
        conftest.pytest_sessionstart(session)
