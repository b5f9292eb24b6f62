"""A user whom the system does not know and who has no HOME, as in a container that runs under an arbitrary user id."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Become that user, in a folder that must stay empty."""

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "MARCOT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("models",),
        ("models", "--json"),
        ("models", "--fetch", "smollm2-135m"),
        ("generate", "-m", "smollm2-135m", "x"),
        ("search", "-m", "smollm2-135m", "x"),
        ("score", "-m", "smollm2-135m", "x"),
    ],
    ids=" ".join,
)
def test_built_in_models_have_no_place(marcot: Callable, nobody: Path, words: tuple[str, ...]) -> None:
    ended = marcot(*words)
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == (
        "error: no place for built-in models: this user has no home directory; set MARCOT_CACHE to a folder\n"
    )
    assert list(nobody.iterdir()) == []


@pytest.mark.parametrize("name", ["~/model", "~nobody-of-that-name/model"])
def test_a_home_that_is_not_there_holds_no_model(marcot: Callable, name: str) -> None:
    ended = marcot("generate", "-m", name, "x")
    assert ended.code == 4
    assert f"no model called '{name}'" in ended.err


def test_a_cache_in_a_home_that_is_not_there(marcot: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_CACHE", "~nobody-of-that-name/models")
    ended = marcot("models")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert "MARCOT_CACHE=~nobody-of-that-name/models: there is no such home directory" in ended.err


def test_a_user_s_own_model_needs_no_home(marcot: Callable, mute: Path, nobody: Path) -> None:
    ended = marcot("generate", "-m", mute, "--token-ids", "5", "--max-tokens", "1", "--json")
    assert ended.code == 0, ended.err
    assert list(nobody.iterdir()) == []
