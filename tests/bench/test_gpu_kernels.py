"""The section of `make gpu-check` that times kernels, on the CPU."""

from __future__ import annotations

from typing import Any

import gpu_kernels
import pytest
import torch
from gpu_report import KernelTiming
from gpu_section import Notebook, Task
from marcot.kernels import reference
from marcot.kernels.triton import load
from torch import Tensor


@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_every_kernel_is_timed(clock: list[Any], monkeypatch: pytest.MonkeyPatch, kernels: str) -> None:
    if kernels == "triton":
        monkeypatch.setattr(gpu_kernels, "select", lambda *_: load(torch.device("cpu")))
        monkeypatch.setattr(gpu_kernels, "_DTYPE", torch.float32)
        monkeypatch.setattr(gpu_kernels, "_FEW_ROWS", (3,))
        monkeypatch.setattr(gpu_kernels, "_PROMPT_ROWS", 48)
        monkeypatch.setattr(gpu_kernels, "_TOP_K", 5)
        monkeypatch.setattr(gpu_kernels, "recorded", list)
    notebook = Notebook()
    gpu_kernels.run(Task("model", "cpu", notebook))
    timings = [one for one in notebook.findings if isinstance(one, KernelTiming)]
    assert len(timings) == len(clock) == len(notebook.findings)
    assert {one.op for one in timings} == {
        *("rms_norm", "silu_mul", "rope_store", "tree_attention", "lm_head_topk", "linear")
    }
    assert all(one.moved > 0 for one in timings)
    for one, result in zip(timings, clock, strict=True):
        tensors = [part for part in ([result] if isinstance(result, Tensor) else result) if part is not None]
        assert all(part.isfinite().all() for part in tensors), one


def test_a_kernel_that_fails_stops_only_its_kind(clock: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(reference, name)

        def silu_mul(self, gate_up: Tensor) -> Tensor:
            raise ValueError("boom")

    monkeypatch.setattr(gpu_kernels, "select", lambda *_: Broken())
    notebook = Notebook()
    with pytest.raises(RuntimeError, match="1 kinds of kernels failed"):
        gpu_kernels.run(Task("model", "cpu", notebook))
    assert "ValueError: boom" in notebook.notes[0]
    assert {one.op for one in notebook.findings if isinstance(one, KernelTiming)} > {"tree_attention", "linear"}
