from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from headless_browser import Browser, find_chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = find_chromium()
    if binary is None:
        pytest.skip("there is no Chromium here; install one, or name it in the environment variable CHROMIUM")
    profile: Path = tmp_path_factory.mktemp("profile")
    with Browser(binary, profile) as browser:
        yield browser
