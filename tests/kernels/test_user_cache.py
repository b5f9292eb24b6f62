"""Where the user's cache directory is, and whether there is one."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from marcot.kernels.user_cache import user_cache


@pytest.mark.parametrize(
    ("xdg", "home", "folder"),
    [
        ("/x/cache", "/home/me", "/x/cache/marcot"),
        ("", "/home/me", "/home/me/.cache/marcot"),
        (None, "/home/me", "/home/me/.cache/marcot"),
        (".", "/home/me", "/home/me/.cache/marcot"),
        ("../cache", "/home/me", "/home/me/.cache/marcot"),
        (None, ".", None),
        (None, "home/me", None),
        (None, "~", None),
        (None, None, None),
        (".", None, None),
        ("/x/cache", None, "/x/cache/marcot"),
    ],
)
def test_it_never_is_in_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, xdg: str | None, home: str | None, folder: str | None
) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name, value in (("XDG_CACHE_HOME", xdg), ("HOME", home)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert user_cache() == (None if folder is None else Path(folder))
