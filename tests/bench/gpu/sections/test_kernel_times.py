"""The sections of `make gpu-check` that time kernels, run on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from marcot.kernels import reference
from marcot.kernels.triton import load
from support.kernels.gpu_samples import OnceClock
from torch import Tensor

from bench.gpu.findings import Comparison, KernelTiming
from bench.gpu.section import Notebook, Task
from bench.gpu.sections import head_times, kernel_times, linear_times


@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_every_kernel_is_timed(clock: OnceClock, monkeypatch: pytest.MonkeyPatch, kernels: str) -> None:
    if kernels == "triton":
        monkeypatch.setattr(kernel_times, "select", lambda *_: load(torch.device("cpu")))
        monkeypatch.setattr(kernel_times, "_DTYPE", torch.float32)
        monkeypatch.setattr(kernel_times, "_PROMPT_ROWS", 48)
    notebook = Notebook()
    kernel_times.run(Task([], "cpu", clock, notebook))
    timings = [one for one in notebook.findings if isinstance(one, KernelTiming)]
    assert len(timings) == len(clock.results) == len(notebook.findings)
    assert {one.op for one in timings} == {"rms_norm", "silu_mul", "rope_store", "tree_attention"}
    assert all(one.moved > 0 for one in timings)
    for one, result in zip(timings, clock.results, strict=True):
        tensors = [part for part in ([result] if isinstance(result, Tensor) else result) if part is not None]
        assert all(part.isfinite().all() for part in tensors), one


@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_heads_are_compared_with_the_product(clock: OnceClock, monkeypatch: pytest.MonkeyPatch, kernels: str) -> None:
    if kernels == "triton":
        monkeypatch.setattr(head_times, "select", lambda *_: load(torch.device("cpu")))
        monkeypatch.setattr(head_times, "_DTYPE", torch.float32)
        monkeypatch.setattr(head_times, "_TOP_K", 5)
    notebook = Notebook()
    head_times.run(Task([], "cpu", clock, notebook))
    found = [one for one in notebook.findings if isinstance(one, Comparison)]
    assert [(one.op, one.rows) for one in found] == [
        *(("lm_head_topk", 1), ("lm_head_topk, drawn", 1), ("lm_head_topk", 3), ("lm_head_topk, drawn", 3))
    ]
    assert [one.ratio for one in found] == [pytest.approx(ratio) for ratio in (2 / 1, 3 / 1, 5 / 4, 6 / 4)]
    for product, head, drawn in (clock.results[:3], clock.results[3:]):
        largest = product.float().max(dim=1).values
        assert torch.allclose(head.top_logits[:, 0], largest, rtol=1e-2)
        assert head.drawn_ids is None
        assert drawn.drawn_ids is not None


@pytest.mark.parametrize("kernels", ["reference", "triton"])
def test_quantised_linears_are_compared_with_dense_ones(
    clock: OnceClock, monkeypatch: pytest.MonkeyPatch, kernels: str
) -> None:
    monkeypatch.setattr(linear_times, "SHAPES", (linear_times.SHAPES[0]._replace(hidden=256),))
    if kernels == "triton":
        monkeypatch.setattr(linear_times, "select", lambda *_: load(torch.device("cpu")))
        monkeypatch.setattr(linear_times, "_DTYPE", torch.float32)
    notebook = Notebook()
    linear_times.run(Task([], "cpu", clock, notebook))
    found = [one for one in notebook.findings if isinstance(one, Comparison)]
    assert [(one.op, one.rows) for one in found] == [
        (f"linear, {bits} bits", rows) for bits in linear_times.FORMATS.values() for rows in (1, 3)
    ]
    assert [one.peer_seconds for one in found] == [pytest.approx(seconds) for seconds in (1e-3, 2e-3)] * 3


@pytest.mark.parametrize("format", linear_times._BLOCKS)
def test_random_blocks_are_of_the_size_of_weights(format: str) -> None:
    blocks = linear_times.random_blocks(64, 512, format)
    assert blocks.shape == (64, 512)
    values = blocks.dequantize()
    assert values.isfinite().all()
    assert 0.001 < float(values.std()) < 10
    assert len(values.unique()) > 10


def test_a_kernel_that_fails_stops_only_its_kind(clock: OnceClock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(reference, name)

        def silu_mul(self, gate_up: Tensor) -> Tensor:
            raise ValueError("boom")

    monkeypatch.setattr(kernel_times, "select", lambda *_: Broken())
    notebook = Notebook()
    with pytest.raises(RuntimeError, match="1 kinds of kernels failed"):
        kernel_times.run(Task([], "cpu", clock, notebook))
    assert "ValueError: boom" in notebook.notes[0]
    assert {one.op for one in notebook.findings if isinstance(one, KernelTiming)} == {"rms_norm", "tree_attention"}
