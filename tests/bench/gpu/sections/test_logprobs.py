"""The section of `make gpu-check` that compares log-probabilities, run on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.kernels.gpu_samples import OnceClock

from bench.gpu.findings import Check
from bench.gpu.models import Model
from bench.gpu.section import Notebook, Task
from bench.gpu.sections import logprobs


def test_log_probabilities(tiny_checkpoint: Callable[..., Path]) -> None:
    """On the CPU there are no graphs; all other checks pass."""
    notebook = Notebook()
    logprobs.run(Task([Model(str(tiny_checkpoint("qwen2", tokenizer=True)), False)], "cpu", OnceClock(), notebook))
    checks = {one.name: one for one in notebook.findings if isinstance(one, Check)}
    assert checks.pop("decoding has no CUDA graphs").value == 1
    assert all(one.right for one in checks.values()), checks
    assert len(checks) == 1 + 3 * 3


def test_wrong_log_probabilities_are_found(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logprobs, "_reference", _other_weights(tiny_checkpoint, logprobs._reference))
    notebook = Notebook()
    logprobs.run(
        Task(
            [Model(str(tiny_checkpoint("smollm2", tokenizer=True)), False)],
            "cpu",
            OnceClock(),
            notebook,
        )
    )
    wrong = [one.name for one in notebook.findings if isinstance(one, Check) and not one.right]
    assert "transformers fp32, largest" in wrong
    assert "prefill float32, largest" in wrong


def _other_weights(tiny_checkpoint: Callable[..., Path], load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda _: load(tiny_checkpoint("smollm2", tokenizer=True, seed=1))
