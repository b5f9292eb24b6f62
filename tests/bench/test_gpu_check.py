"""The logic of `make gpu-check`, with stand-ins for the GPU."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gpu_card
import gpu_check
import gpu_decode
import gpu_kernels
import gpu_logprobs
import gpu_peers
import gpu_tests
import pytest
import torch
from gpu_card import Card
from gpu_report import Check, DecodeTiming, Finding, GpuReport, KernelTiming, Section
from gpu_section import Notebook, SkippedError, Task, run_section
from gpu_trees import PagedTree, fan, recorded
from marcot.kernels import reference
from marcot.kernels.triton import load
from marcot.model import PAGE_SIZE
from torch import Tensor

CARD = Card("NVIDIA H100 80GB HBM3", "sm_90", 132, 80 * 2**30, {"torch": "2.13.0"}, 3e12, 8e14)
RIGHT, WRONG = Check("near", 0.5, 1.0, "why"), Check("far", 2.0, 1.0, "why")
TINY = gpu_kernels.Shape("tiny", 64, 6, 2, 16, 32, 100)


def section(*findings: Finding, error: str | None = None, skipped: str | None = None, required: bool = True) -> Section:
    return Section("kernels", required, list(findings), ["a note"], error, skipped, 1.0)


# --- report and exit code ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "code"),
    [
        ([section(RIGHT)], 0),
        ([section(RIGHT, WRONG)], 1),
        ([section(error="Traceback")], 1),
        ([section(error="Traceback", required=False)], 0),
        ([section(WRONG, error="Traceback", required=False)], 1),
        ([section(skipped="nothing is installed")], 0),
        ([section(RIGHT), section(Check("nothing", math.nan, 1.0, ""))], 1),
    ],
    ids=["right", "wrong", "error", "error-of-a-peer", "wrong-and-error-of-a-peer", "skipped", "nan"],
)
def test_exit_code(sections: list[Section], code: int) -> None:
    assert GpuReport(CARD, sections).exit_code == code


def test_status() -> None:
    assert section(RIGHT).status == "right"
    assert section(RIGHT, WRONG, error="Traceback").status == "wrong"
    assert section(RIGHT, error="Traceback").status == "failed"
    assert section(skipped="why").status == "skipped"


def test_text_has_every_number_and_every_error() -> None:
    kernel = KernelTiming("silu_mul", "7B, 8 rows", 2e-6, 3e6, 4e6)
    decode = DecodeTiming("marcot, graphs", 64, 0.004, 0.001)
    text = GpuReport(CARD, [section(RIGHT, WRONG, kernel, decode, error="Traceback: [red]boom[/red]")]).text()
    for part in (
        *("NVIDIA H100 80GB HBM3, sm_90, 132 processors, 80 GiB", "torch 2.13.0"),
        *("copies 3000 GB/s, multiplies bf16 800.0 TFLOP/s", "kernels: wrong, 1 s", "WRONG"),
        *("2.0", "1500", "50%", "2.00", "0%"),
        *("4.00", "1.00", "16000", "a note", "Traceback: [red]boom[/red]"),
    ):
        assert part in text


def test_written_report_is_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "more" / "report.json"
    card = CARD._replace(gemm_speed=math.nan)
    GpuReport(card, [section(RIGHT, Check("nothing", math.nan, 1.0, ""))]).write(path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read["exit_code"] == 1
    assert read["card"]["name"] == CARD.name
    assert read["card"]["gemm_speed"] is None
    [part] = read["sections"]
    assert part["status"] == "wrong"
    assert [one["kind"] for one in part["findings"]] == ["Check", "Check"]
    assert part["findings"][1]["value"] is None


def test_report_path_has_the_card() -> None:
    assert gpu_check.report_path(CARD.name).name == "gpu_check_nvidia_h100_80gb_hbm3.json"


# --- sections ---------------------------------------------------------------------------------------------------------


def test_an_error_keeps_what_was_found_before() -> None:
    def run(notebook: Notebook) -> None:
        notebook.add(RIGHT)
        notebook.note("so far")
        raise ValueError("boom")

    ended = run_section("kernels", True, run)
    assert (ended.findings, ended.notes, ended.status) == ([RIGHT], ["so far"], "failed")
    assert ended.error is not None
    assert "ValueError: boom" in ended.error


def test_a_skipped_section_says_why() -> None:
    def run(notebook: Notebook) -> None:
        raise SkippedError("nothing to do")

    ended = run_section("peers", False, run)
    assert (ended.skipped, ended.error, ended.status) == ("nothing to do", None, "skipped")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`gpu(name=run, ...)`: pretend that there is a GPU, with these sections."""

    def pretend(**sections: Callable[[Task], None]) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(gpu_card, "measure_card", lambda: CARD)
        monkeypatch.setattr(gpu_check, "PARTS", {name: gpu_check.Part(name, True, name) for name in sections})
        for name, run in sections.items():
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(run=run))

    return pretend


def boom(task: Task) -> None:
    raise ValueError("boom")


def test_one_section_fails_and_the_others_run(
    gpu: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    gpu(first=boom, second=lambda task: task.notebook.add(RIGHT._replace(name=f"{task.model} on {task.device}")))
    assert gpu_check.main(["--model", "some/model", "--out", str(out)]) == 1
    read = json.loads(out.read_text())
    assert [part["status"] for part in read["sections"]] == ["failed", "right"]
    assert read["sections"][1]["findings"][0]["name"] == "some/model on cuda"
    said = capsys.readouterr()
    assert "ValueError: boom" in said.out
    assert "some/model on cuda" in said.out
    assert str(out) in said.err


def test_sections_that_are_asked_for(gpu: Callable[..., None], tmp_path: Path) -> None:
    gpu(first=boom, second=lambda task: None)
    assert gpu_check.main(["--sections", "second", "--out", str(tmp_path / "report.json")]) == 0
    with pytest.raises(SystemExit) as ended:
        gpu_check.main(["--sections", "second third"])
    assert ended.value.code == 2


def test_a_module_that_cannot_be_imported_is_a_failed_section(gpu: Callable[..., None], tmp_path: Path) -> None:
    gpu(first=lambda task: None)
    del sys.modules["first"]
    assert gpu_check.main(["--out", str(tmp_path / "report.json")]) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu() -> None:
    command = [sys.executable, gpu_check.__file__, "--model", "no/such/model"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == gpu_check.NO_GPU == 3
    assert ended.stdout == ""
    assert ended.stderr.startswith("gpu-check: no GPU: ")
    assert ended.stderr.count("\n") == 1


def test_every_part_has_a_module() -> None:
    for part in gpu_check.PARTS.values():
        assert callable(__import__(part.module).run)


# --- the kernel tests -------------------------------------------------------------------------------------------------

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="one"/>
<testcase classname="tests.a" name="two"><failure message="x">y</failure></testcase>
<testcase classname="tests.b" name="three"><skipped/></testcase>
<testcase classname="tests.b" name="four"><error message="x">y</error></testcase>
</testsuite></testsuites>"""
PASSED = '<testsuites><testsuite><testcase classname="tests.c" name="five"/></testsuite></testsuites>'


def run_tests(monkeypatch: pytest.MonkeyPatch, folder: Path, *reports: str | None) -> Section:
    """The section, where there is one file of tests for each of `reports`."""
    for number in range(len(reports)):
        (folder / f"test_{number}.py").touch()

    def fake(test: Path, report: Path, deadline: float) -> str:
        xml = reports[int(test.stem.removeprefix("test_"))]
        if xml is not None:
            report.write_text(xml)
        return f"what {test.name} printed"

    monkeypatch.setattr(gpu_tests, "_ROOT", folder)
    monkeypatch.setattr(gpu_tests, "_TESTS", ("test_*.py",))
    monkeypatch.setattr(gpu_tests, "_run_tests", fake)
    return run_section("tests", True, lambda notebook: gpu_tests.run(Task("model", "cuda", notebook)))


def test_failed_tests_are_wrong_and_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = run_tests(monkeypatch, tmp_path, PASSED, JUNIT, PASSED)
    assert ended.status == "wrong"
    named = ["failed: tests.a::two", "failed: tests.b::four", "what test_1.py printed"]
    assert ended.notes == [*named, "3 tests passed"]
    assert ended.wrong[0].value == 2


def test_tests_that_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = run_tests(monkeypatch, tmp_path, PASSED, PASSED)
    assert (ended.status, ended.notes) == ("right", ["2 tests passed"])


@pytest.mark.parametrize("xml", [None, "<testsuites/>"], ids=["killed", "none"])
def test_tests_that_do_not_run_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, xml: str | None) -> None:
    ended = run_tests(monkeypatch, tmp_path, PASSED, xml)
    assert GpuReport(CARD, [ended]).exit_code == 1
    assert ended.notes == ["1 tests passed"]
    assert ended.error is not None
    assert "what test_1.py printed" in ended.error
    assert "what test_0.py printed" not in ended.error


def test_every_pattern_finds_tests() -> None:
    for pattern in gpu_tests._TESTS:
        assert list(gpu_tests._ROOT.glob(pattern)), pattern


def test_pytest_is_run_and_its_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytest.ini").touch()
    test, report = tmp_path / "test_it.py", tmp_path / "tests.xml"
    test.write_text(
        "import os\n"
        "def test_yes(): assert (os.environ['KERNEL_SETS'], os.environ['MARCOT_TEST_DEVICE']) == ('triton', 'cuda')\n"
        "def test_no(): 1 / 0\n"
        "def test_slow(): __import__('time').sleep(float(os.environ.get('NAP', 0)))\n"
    )
    monkeypatch.setattr(gpu_tests, "_ROOT", tmp_path)
    assert "ZeroDivisionError" in gpu_tests._run_tests(test, report, time.monotonic() + 60)
    outcome = gpu_tests.read_outcome(report.read_text())
    assert (outcome.passed, len(outcome.failed)) == (2, 1)
    report.unlink()
    monkeypatch.setenv("NAP", "60")
    assert "no end after" in gpu_tests._run_tests(test, report, time.monotonic() + 2)
    assert not report.exists()


# --- trees ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", [fan(1), fan(5), *recorded()], ids=lambda tree: tree.name)
def test_items_give_every_leaf_its_path(tree: PagedTree) -> None:
    assert all(tokens % PAGE_SIZE == 0 for tokens in tree.tokens)
    leaves = [chain[-1] for chain in tree.chains]
    assert sorted(leaves) == [node for node in range(len(tree.parents)) if node not in tree.parents]
    for row, leaf in enumerate(leaves):
        path: list[int] = []
        node: int | None = leaf
        while node is not None:
            path = tree.pages_of(node) + path
            node = tree.parents[node]
        read = sorted(item for item in tree.items() if item.first_row <= row < item.first_row + item.rows)
        read.sort(key=lambda item: item.position)
        pages = [page for item in read for page in range(item.first_page, item.first_page + item.length // PAGE_SIZE)]
        assert pages == path
        assert tree.positions[row] == len(path) * PAGE_SIZE - 1
    assert tree.seen == sum(position + 1 for position in tree.positions)


# --- what needs a GPU, on the CPU -------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls what is timed once; returns the list of all results. Kernels are the reference, shapes are small."""
    results: list[Any] = []

    def once(run: Callable[[], object]) -> float:
        results.append(run())
        return 1e-3

    for module in (gpu_kernels, gpu_peers):
        monkeypatch.setattr(module, "median_seconds", once)
        monkeypatch.setattr(module, "select", lambda *_: reference)
        monkeypatch.setattr(module, "SHAPES", (TINY,))
    monkeypatch.setattr(gpu_kernels, "_ROWS", (1, 3))
    return results


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


def test_log_probabilities(tiny_checkpoint: Callable[..., Path]) -> None:
    """On the CPU, where there are no graphs, everything else is right."""
    notebook = Notebook()
    gpu_logprobs.run(Task(str(tiny_checkpoint("qwen2", tokenizer=True)), "cpu", notebook))
    checks = {one.name: one for one in notebook.findings if isinstance(one, Check)}
    assert checks.pop("decoding has no CUDA graphs").value == 1
    assert all(one.right for one in checks.values()), checks
    assert len(checks) == 1 + 3 * 3


def test_wrong_log_probabilities_are_found(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_logprobs, "_reference", _other_weights(tiny_checkpoint, gpu_logprobs._reference))
    notebook = Notebook()
    gpu_logprobs.run(Task(str(tiny_checkpoint("smollm2", tokenizer=True)), "cpu", notebook))
    wrong = [one.name for one in notebook.findings if isinstance(one, Check) and not one.right]
    assert "transformers fp32, largest" in wrong
    assert "prefill float32, largest" in wrong


def _other_weights(tiny_checkpoint: Callable[..., Path], load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda _: load(tiny_checkpoint("smollm2", tokenizer=True, seed=1))


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
    monkeypatch.setattr(gpu_decode, "BRANCHES", (1, 3))
    monkeypatch.setattr(gpu_decode, "PREFIX_TOKENS", 20)
    monkeypatch.setattr(gpu_decode, "random_ids", lambda tokens: list(range(3, 3 + tokens)))
    notebook = Notebook()
    gpu_decode.run(Task(str(tiny_checkpoint("smollm2", num_hidden_layers=1)), "cpu", notebook))
    check, *timings = notebook.findings
    assert isinstance(check, Check)
    assert not check.right
    assert [(one.contestant, one.branches) for one in timings] == [("marcot, no graphs", 1), ("marcot, no graphs", 3)]
    for one in timings:
        host = one.step_s - 60e-6 / (gpu_decode.NEW_TOKENS - 1)
        assert one.host_s == (pytest.approx(host) if counted else None)


# --- peers ------------------------------------------------------------------------------------------------------------


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
