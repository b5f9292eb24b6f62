"""The section of `make gpu-check` that times decoding, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.gpu import decode
from bench.gpu.report import Check
from bench.gpu.section import Notebook, Task


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "not-counted"])
def test_decoding_is_timed(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, counted: bool
) -> None:
    class Profile:
        def __init__(self, activities: object) -> None:
            if not counted:
                raise RuntimeError("CUPTI needs rights")

        def __enter__(self) -> Profile:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def key_averages(self) -> list[Any]:
            return [SimpleNamespace(self_device_time_total=30.0)] * 2

    monkeypatch.setattr(torch.profiler, "profile", Profile)
    monkeypatch.setattr(decode, "BRANCHES", (1, 3))
    monkeypatch.setattr(decode, "PREFIX_TOKENS", 20)
    monkeypatch.setattr(decode, "random_ids", lambda tokens: list(range(3, 3 + tokens)))
    notebook = Notebook()
    decode.run(Task(str(tiny_checkpoint("smollm2", num_hidden_layers=1)), "cpu", notebook))
    check, *timings = notebook.findings
    assert isinstance(check, Check)
    assert not check.right
    assert [(one.contestant, one.branches) for one in timings] == [("marcot, no graphs", 1), ("marcot, no graphs", 3)]
    for one in timings:
        host = one.step_s - 60e-6 / (decode.NEW_TOKENS - 1)
        assert one.host_s == (pytest.approx(host) if counted else None)
