"""Files in the current folder are not imported by marcot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MODULES = ("torch", "numpy", "typer", "rich", "click", "tokenizers", "safetensors", "jinja2", "gguf", "triton", "pip")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules that leave a trace if they are imported."""
    for name in (*MODULES, "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


@pytest.mark.parametrize("module", ["marcot", "marcot.engine.cli"])
def test_modules_in_the_current_folder_are_not_taken_for_ours(
    hostile: Path, tiny_checkpoint: Callable[..., Path], module: str
) -> None:
    model = tiny_checkpoint("qwen2", num_hidden_layers=1)
    words = ["generate", "--model", str(model), "--token-ids", "5", "--max-tokens", "1"]
    ended = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not (hostile / "ran").exists()


def test_a_users_own_module_is_found_there_all_the_same(hostile: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    (hostile / "mine.py").write_text("def value(trace): return 0.25\n")
    model = tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)
    words = ["search", "--model", str(model), "--rollouts", "1", "--max-rollout-tokens", "2", "--value", "mine:value"]
    ended = subprocess.run([sys.executable, "-m", "marcot", *words, "x"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not (hostile / "ran").exists()


@pytest.mark.parametrize(
    "command", [["-m", "marcot", "models"], ["-m", "marcot.engine.cli", "--version"]], ids=" ".join
)
def test_a_current_folder_that_is_gone_is_named(tmp_path: Path, command: list[str]) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" "$@"'
    ended = subprocess.run(
        ["sh", "-c", script, sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (
        2,
        "error: the current folder does not exist any more; change to another one\n",
    )
