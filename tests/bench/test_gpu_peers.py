"""The section of `make gpu-check` that times other programs, with stand-ins for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gpu_decode
import gpu_peers
import pytest
import torch
from gpu_report import Check
from gpu_samples import TINY
from gpu_section import Notebook, Task, run_section
from gpu_trees import recorded
from marcot.model import PAGE_SIZE
from torch import Tensor


class FakeAttention:
    """Stands for both wrappers of FlashInfer: reads its page tables token by token, in fp64."""

    off = 0.0

    def __init__(self, *arguments: Any, use_tensor_cores: bool = False) -> None:
        *levels, workspace, layout = arguments
        self.levels = levels
        assert workspace.dtype == torch.uint8
        assert layout == "HND"

    def plan(self, *arguments: Any, q_data_type: torch.dtype, kv_data_type: torch.dtype | None = None) -> None:
        *tables, heads, kv_heads, head_dim, page_size = arguments
        assert (heads, kv_heads, head_dim, page_size) == (TINY.heads, TINY.kv_heads, TINY.head_dim, PAGE_SIZE)
        if self.levels:
            queries, *tables = tables
        else:
            queries, tables = [torch.arange(len(tables[0]))], [[table] for table in tables]
        self.levels = list(zip(queries, *tables, strict=True))

    def run(self, q: Tensor, kv: tuple[Tensor, Tensor]) -> Tensor:
        rows = [self._row(row, *kv) for row in range(len(q))]
        group = q.shape[1] // kv[0].shape[1]
        results = []
        for query, (k, v) in zip(q.double(), rows, strict=True):
            keys, values = (x.double().repeat_interleave(group, dim=1) for x in (k, v))
            scores = torch.einsum("hd,thd->ht", query, keys) * q.shape[2] ** -0.5
            results.append(torch.einsum("ht,thd->hd", scores.softmax(dim=-1), values))
        return torch.stack(results).to(q.dtype) + self.off

    def _row(self, row: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """K and V of all that a row reads, `[tokens, kv_heads, head_dim]`."""
        pages: list[int] = []
        for queries, begins, numbers, last in self.levels:
            path = int((queries <= row).sum()) - 1
            pages += numbers[begins[path] : begins[path + 1]].tolist()
            assert last[path] == PAGE_SIZE
        return tuple(x[pages].transpose(1, 2).flatten(0, 1) for x in (k, v))  # type: ignore[return-value]


@pytest.fixture
def flashinfer(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeAttention]]:
    module = ModuleType("flashinfer")
    module.BatchDecodeWithPagedKVCacheWrapper = FakeAttention  # type: ignore[attr-defined]
    module.MultiLevelCascadeAttentionWrapper = FakeAttention  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flashinfer", module)
    monkeypatch.setattr(gpu_peers, "find_spec", lambda name: object() if name == "flashinfer" else None)
    monkeypatch.setattr(gpu_peers, "_WORKSPACE_BYTES", 16)
    yield FakeAttention
    FakeAttention.off = 0.0


@pytest.mark.parametrize("off", [0.0, 0.5], ids=["agrees", "disagrees"])
def test_flashinfer_reads_the_same_trees(clock: list[Any], flashinfer: type[FakeAttention], off: float) -> None:
    flashinfer.off = off
    notebook = Notebook()
    gpu_peers.run(Task("model", "cpu", notebook))
    assert notebook.notes == ["vllm is not installed", "sglang is not installed"]
    checks = [one for one in notebook.findings if isinstance(one, Check)]
    assert len(checks) == 3 * (4 + len(recorded()))
    assert {one.right for one in checks if "FlashInfer" in one.name} == {off == 0.0}


def test_a_peer_that_fails_is_noted(
    clock: list[Any], flashinfer: type[FakeAttention], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(flashinfer, "plan")
    notebook = Notebook()
    gpu_peers.run(Task("model", "cpu", notebook))
    assert notebook.notes[-1].startswith("flashinfer failed:\nTraceback")


def test_without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_peers, "find_spec", lambda name: None)
    ended = run_section("peers", False, lambda notebook: gpu_peers.run(Task("model", "cuda", notebook)))
    assert ended.skipped == "no peer is installed"
    assert len(ended.notes) == 3


@pytest.mark.parametrize("model", ["folder", "file.gguf"])
def test_engines_run_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str) -> None:
    calls: list[str] = []

    class FakeRemote:
        def __init__(self, python: str, environment: object) -> None:
            pass

        def __enter__(self) -> FakeRemote:
            return self

        def __exit__(self, *_: object) -> None:
            calls.append("closed")

        def call(self, command: str, **arguments: Any) -> None:
            calls.append(command)

    path = tmp_path / model
    path.touch()
    monkeypatch.setattr(gpu_peers, "Remote", FakeRemote)
    notebook = Notebook()
    gpu_peers._engine("vllm", Task(str(path), "cuda", notebook))
    if model.endswith(".gguf"):
        assert notebook.notes == ["vllm needs a checkpoint folder: give one with MODEL=path"]
        return
    trees = len(recorded())
    assert calls.count("fork") == len(gpu_decode.BRANCHES)
    assert calls.count("fork_leaves") == trees
    assert calls.count("decode") == 2 * (len(gpu_decode.BRANCHES) + trees)
    assert (calls[0], calls[-1]) == ("load", "closed")
    assert len(notebook.findings) == len(gpu_decode.BRANCHES) + trees
