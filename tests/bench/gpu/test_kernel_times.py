"""The section of `make gpu-check` that times kernels, on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from marcot.kernels import reference
from marcot.kernels.triton import load
from torch import Tensor

from bench.gpu import kernel_times
from bench.gpu.report import KernelTiming
from bench.gpu.section import Notebook, Task


@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_every_kernel_is_timed(clock: list[Any], monkeypatch: pytest.MonkeyPatch, kernels: str) -> None:
    if kernels == "triton":
        monkeypatch.setattr(kernel_times, "select", lambda *_: load(torch.device("cpu")))
        monkeypatch.setattr(kernel_times, "_DTYPE", torch.float32)
        monkeypatch.setattr(kernel_times, "_FEW_ROWS", (3,))
        monkeypatch.setattr(kernel_times, "_PROMPT_ROWS", 48)
        monkeypatch.setattr(kernel_times, "_TOP_K", 5)
        monkeypatch.setattr(kernel_times, "recorded", list)
    notebook = Notebook()
    kernel_times.run(Task("model", "cpu", notebook))
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

    monkeypatch.setattr(kernel_times, "select", lambda *_: Broken())
    notebook = Notebook()
    with pytest.raises(RuntimeError, match="1 kinds of kernels failed"):
        kernel_times.run(Task("model", "cpu", notebook))
    assert "ValueError: boom" in notebook.notes[0]
    assert {one.op for one in notebook.findings if isinstance(one, KernelTiming)} > {"tree_attention", "linear"}
