"""A browser that must not report any problem."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.programs.headless_browser import Browser


@pytest.fixture
def no_problems(browser: Browser) -> Iterator[None]:
    """The browser must report no problem with the page."""
    yield
    assert browser.problems == []
