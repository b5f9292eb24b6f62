"""The section of `make gpu-check` that times other programs, with stand-ins for them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from gpu_samples import TINY
from marcot.model import PAGE_SIZE
from torch import Tensor

from bench.common.remote import Remote
from bench.gpu import decode, peers
from bench.gpu.report import Check, DecodeTiming, KernelTiming
from bench.gpu.section import Notebook, Task, run_section
from bench.gpu.trees import recorded


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
    monkeypatch.setattr(peers, "find_spec", lambda name: object() if name == "flashinfer" else None)
    monkeypatch.setattr(peers, "_WORKSPACE_BYTES", 16)
    yield FakeAttention
    FakeAttention.off = 0.0


@pytest.mark.parametrize("off", [0.0, 0.5], ids=["agrees", "disagrees"])
def test_flashinfer_reads_the_same_trees(clock: list[Any], flashinfer: type[FakeAttention], off: float) -> None:
    flashinfer.off = off
    notebook = Notebook()
    peers.run(Task("model", "cpu", notebook))
    assert notebook.notes == ["vllm is not installed", "sglang is not installed"]
    checks = [one for one in notebook.findings if isinstance(one, Check)]
    assert len(checks) == 2 * (4 + len(recorded()))
    assert {one.right for one in checks} == {off == 0.0}


def test_a_way_that_fails_is_noted_once_and_the_other_goes_on(
    clock: list[Any], flashinfer: type[FakeAttention], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["flashinfer"], "BatchDecodeWithPagedKVCacheWrapper", None)
    notebook = Notebook()
    peers.run(Task("model", "cpu", notebook))
    [note] = [note for note in notebook.notes if "failed" in note]
    assert note.startswith("FlashInfer, per branch failed:\nTraceback")
    timed = [one.op for one in notebook.findings if isinstance(one, KernelTiming)]
    assert timed == ["tree_attention", "FlashInfer, cascade"] * (4 + len(recorded()))


def test_without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    ended = run_section("peers", False, lambda notebook: peers.run(Task("model", "cuda", notebook)))
    assert ended.skipped == "no peer is installed"
    assert len(ended.notes) == 3


@pytest.mark.parametrize("installed", [True, False])
def test_engines_of_another_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool) -> None:
    """It knows what is installed for it; a script stands for it."""
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport sys\nsys.exit(sys.argv[-1] != 'vllm' or {not installed})\n")
    python.chmod(0o700)
    monkeypatch.setenv("BENCH_PYTHON", str(python))
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert [name for name in ("flashinfer", "vllm", "sglang") if peers._is_installed(name)] == ["vllm"] * installed
    assert peers._engine_python() == str(python)


class FakeRemote:
    """A process in which a round takes half a second, and 10 ms for each token; the first one takes a minute."""

    def __init__(self, python: str, environment: object) -> None:
        self.calls: list[str] = []
        self.now = 0.0

    def __enter__(self) -> FakeRemote:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append("closed")

    def call(self, command: str, **arguments: Any) -> Any:
        self.calls.append(command)
        if command == "load":
            return {"seconds": 60.0, "versions": {"vllm": "1.2", "torch": "3.4"}}
        if command == "start":
            self._passes = arguments["passes"]
        if command == "decode":
            self.now += 0.5 + 0.01 * self._passes + (60 if self.calls.count("decode") == 1 else 0)
        return None


@pytest.mark.parametrize("model", ["folder", "file.gguf"])
def test_engines_run_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str) -> None:
    path = tmp_path / model
    path.touch()
    remote = FakeRemote("python", {})
    monkeypatch.setattr(peers, "Remote", lambda *_: remote)
    monkeypatch.setattr(peers, "time", SimpleNamespace(perf_counter=lambda: remote.now))
    notebook = Notebook()
    peers._engine("vllm", Task(str(path), "cuda", notebook))
    if model.endswith(".gguf"):
        assert notebook.notes == ["vllm needs a checkpoint folder: give one with MODEL=path"]
        return
    trees = len(recorded())
    assert remote.calls.count("fork") == len(decode.BRANCHES)
    assert remote.calls.count("fork_leaves") == trees
    assert (remote.calls[0], remote.calls[-1]) == ("load", "closed")
    [note] = notebook.notes
    assert note.startswith("vllm 1.2, torch 3.4 in ")
    timings = [one for one in notebook.findings if isinstance(one, DecodeTiming)]
    assert len(timings) == len(notebook.findings) == len(decode.BRANCHES) + trees
    assert [one.step_s for one in timings] == [pytest.approx(0.01)] * len(timings)


def test_ending_an_engine_ends_the_processes_that_it_has_started(tmp_path: Path) -> None:
    """Its first answer is the id of a process that it has started, and it never gives another."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nsleep 600 > /dev/null 2>&1 &\necho '{\"result\": '$!'}'\nwait\n")
    python.chmod(0o700)
    with Remote(str(python), {}) as remote:
        started = remote.call("anything")
        assert Path(f"/proc/{started}").exists()
    deadline = time.monotonic() + 10
    while _runs(started) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(started)


def _runs(process: int) -> bool:
    """Whether it is there, and no zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
