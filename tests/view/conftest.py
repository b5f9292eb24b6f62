from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import system_tools
from headless_browser import Browser, find_chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = find_chromium()
    if binary is None:
        pytest.skip(system_tools.why_skipped("chromium"))
    profile: Path = tmp_path_factory.mktemp("profile")
    with Browser(binary, profile) as browser:
        yield browser
