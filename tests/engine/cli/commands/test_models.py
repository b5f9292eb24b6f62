"""`marcot models`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.model import BUILT_IN_MODELS


def test_every_built_in_model_is_listed(marcot: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_CACHE", str(tmp_path))
    ended = marcot("models")
    assert ended.code == 0
    for model in BUILT_IN_MODELS.values():
        assert model.name in ended.out
        assert model.license in ended.out
        assert model.source in ended.out
    assert ended.out.count("not fetched yet") == len(BUILT_IN_MODELS)
    assert str(tmp_path) in ended.out
    for family in ("Qwen3", "Llama 2 to 3.3", "Mistral 7B", "SmolLM3"):
        assert family in ended.out.splitlines()[-1]


def test_json_says_what_is_cached(marcot: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARCOT_CACHE", str(tmp_path))
    here, *elsewhere = BUILT_IN_MODELS.values()
    with (tmp_path / f"{here.name}.gguf").open("wb") as file:
        file.truncate(here.size)
    entries = {entry["name"]: entry for entry in marcot("models", "--json").objects}
    assert entries[here.name]["path"] == str(tmp_path / f"{here.name}.gguf")
    assert entries[here.name]["cached"] is True
    assert [entries[model.name]["cached"] for model in elsewhere] == [False] * len(elsewhere)
    assert entries[here.name]["size"] == here.size
