"""Attention over trees beside FlashInfer, with a stand-in for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

import pytest
import torch
from marcot.model import PAGE_SIZE
from support.kernels.gpu_samples import TINY, OnceClock
from torch import Tensor

from bench.gpu import flashinfer_trees
from bench.gpu.findings import Check, Comparison
from bench.gpu.flashinfer_trees import WAYS
from bench.gpu.peer_build import PeerBuild
from bench.gpu.section import Notebook, Task
from bench.gpu.sections import tree_times


class FakeAttention:
    """Stands for both wrappers of FlashInfer: reads their page tables token by token, in fp64."""

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
        """K and V of all tokens that a row reads, `[tokens, kv_heads, head_dim]`."""
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
    monkeypatch.setattr(tree_times, "is_installed", lambda: True)
    monkeypatch.setattr(flashinfer_trees, "_WORKSPACE_BYTES", 16)
    yield FakeAttention
    FakeAttention.off = 0.0


@pytest.mark.parametrize("off", [0.0, 0.5], ids=["agrees", "disagrees"])
def test_flashinfer_reads_the_same_trees(clock: OnceClock, flashinfer: type[FakeAttention], off: float) -> None:
    flashinfer.off = off
    notebook = Notebook()
    tree_times.run(Task([], "cpu", clock, notebook))
    assert notebook.notes == []
    checks = [one for one in notebook.findings if isinstance(one, Check)]
    assert len(checks) == 2 * 4
    assert {one.right for one in checks} == {off == 0.0}
    found = [one for one in notebook.findings if isinstance(one, Comparison)]
    assert [one.peer for one in found] == ["FlashInfer, per branch", "FlashInfer, cascade", "pages in bf16"] * 4
    assert found[0].ratio == pytest.approx(1 / 2)
    assert found[1].ratio == pytest.approx(1 / 3)
    assert found[2].ratio == pytest.approx(4 / 1)


def test_a_way_that_fails_is_noted_once_and_the_other_goes_on(
    clock: OnceClock, flashinfer: type[FakeAttention], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["flashinfer"], "BatchDecodeWithPagedKVCacheWrapper", None)
    notebook = Notebook()
    tree_times.run(Task([], "cpu", clock, notebook))
    [note] = notebook.notes
    assert note.startswith("FlashInfer, per branch failed:\nTraceback")
    assert [one.peer for one in notebook.findings if isinstance(one, Comparison)] == [
        *["FlashInfer, cascade", "pages in bf16"] * 4
    ]


def test_without_flashinfer(clock: OnceClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages in fp8 are compared with those in bf16, and their results must be close."""
    monkeypatch.setattr(tree_times, "is_installed", lambda: False)
    notebook = Notebook()
    tree_times.run(Task([], "cpu", clock, notebook))
    assert notebook.notes == ["flashinfer is not installed: nothing to compare with but pages in fp8"]
    found = [one for one in notebook.findings if isinstance(one, Comparison)]
    assert [(one.op, one.peer) for one in found] == [("tree_attention, fp8", "pages in bf16")] * 4
    for wide, narrow in zip(clock.results[::2], clock.results[1::2], strict=True):
        assert (narrow.float() - wide.float()).norm() < 0.1 * wide.float().norm()


@pytest.mark.parametrize("ready", [["FlashInfer, cascade"], []])
def test_only_ways_that_are_compiled_are_compared(
    clock: OnceClock, flashinfer: type[FakeAttention], ready: list[str]
) -> None:
    class Build:
        def ready(self, seconds: float) -> list[str]:
            return ready

    notebook = Notebook()
    tree_times.run(Task([], "cpu", clock, notebook, cast(PeerBuild, Build())))
    peers = {one.peer for one in notebook.findings if isinstance(one, Comparison)} - {"pages in bf16"}
    assert peers == set(ready)
    assert notebook.notes == [
        f"{way}: its kernels do not compile, or not in time; run this section again" for way in WAYS if way not in ready
    ]


def test_nothing_is_built_where_flashinfer_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashinfer_trees, "find_spec", lambda name: None)
    assert flashinfer_trees.start_build() is None


def test_every_way_is_built_for_every_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashinfer_trees, "find_spec", lambda name: object())
    monkeypatch.setattr(flashinfer_trees, "PeerBuild", dict)
    commands = cast(dict[str, list[list[str]]], flashinfer_trees.start_build())
    assert {way: [command[-2:] for command in same] for way, same in commands.items()} == {
        way: [[way, "0.5B"], [way, "7B"]] for way in WAYS
    }
