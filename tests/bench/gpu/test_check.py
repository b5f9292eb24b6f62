"""`make gpu-check` from its arguments to its exit code, with stand-ins for the GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.kernels.gpu_samples import CARD, RIGHT, OnceClock

from bench import ROOT
from bench.gpu import card, check
from bench.gpu.cold_clock import ColdClock
from bench.gpu.findings import Rate
from bench.gpu.models import Model
from bench.gpu.section import Task


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`gpu(name=run, ...)`: pretend that there is a GPU, with these sections."""

    def pretend(**sections: Callable[[Task], None]) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(card, "measure_card", lambda clock: CARD)
        monkeypatch.setattr(ColdClock, "on_device", lambda device: OnceClock())
        monkeypatch.setattr(check, "PARTS", {name: check.Part(name, True, name) for name in sections})
        for name, run in sections.items():
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(run=run))

    return pretend


def boom(task: Task) -> None:
    raise ValueError("boom")


def test_one_section_fails_and_the_others_run(
    gpu: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    gpu(first=boom, second=lambda task: task.notebook.add(RIGHT._replace(name=f"{task.models} on {task.device}")))
    assert check.main(["--model", "some/model", "--out", str(out)]) == 1
    read = json.loads(out.read_text())
    assert [part["status"] for part in read["sections"]] == ["failed", "right"]
    assert read["sections"][1]["findings"][0]["name"] == f"{[Model('some/model', False)]} on cuda"
    said = capsys.readouterr()
    assert "ValueError: boom" in said.out
    assert str([Model("some/model", False)])[:20] in said.out
    assert str(out) in said.err


def test_sections_that_are_asked_for(gpu: Callable[..., None], tmp_path: Path) -> None:
    gpu(first=boom, second=lambda task: None)
    assert check.main(["--sections", "second", "--out", str(tmp_path / "report.json")]) == 0
    with pytest.raises(SystemExit) as ended:
        check.main(["--sections", "second third"])
    assert ended.value.code == 2


def test_a_module_that_cannot_be_imported_is_a_failed_section(gpu: Callable[..., None], tmp_path: Path) -> None:
    gpu(first=lambda task: None)
    del sys.modules["first"]
    assert check.main(["--out", str(tmp_path / "report.json")]) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu() -> None:
    command = [sys.executable, "-m", "bench.gpu.check", "--model", "no/such/model"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == check.NO_GPU == 3
    assert ended.stdout == ""
    assert ended.stderr.startswith("gpu-check: no GPU: ")
    assert ended.stderr.count("\n") == 1


def test_every_part_has_a_module() -> None:
    for part in check.PARTS.values():
        assert callable(import_module(part.module).run)


def test_report_path_has_the_card() -> None:
    assert check.report_path(CARD.name).name == "gpu_check_nvidia_h100_80gb_hbm3.json"


def test_numbers_are_printed_as_they_are_found(
    gpu: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, said = tmp_path / "report.json", []

    def second(task: Task) -> None:
        task.notebook.add(RIGHT)
        said.append(capsys.readouterr().out)
        said.append(json.loads(out.read_text())["sections"][0]["name"])

    gpu(first=lambda task: None, second=second)
    check.main(["--out", str(out)])
    assert said == [f"gpu-check: first ...\ngpu-check: second ...\n  {RIGHT.line}\n", "first"]


def test_random_models_by_size(gpu: Callable[..., None], tmp_path: Path) -> None:
    given: list[object] = []
    gpu(first=lambda task: given.extend(task.models))
    assert check.main(["--random", "7B 0.5b", "--out", str(tmp_path / "report.json")]) == 0
    assert given == [Model("7b", True), Model("0.5b", True)]
    with pytest.raises(SystemExit) as ended:
        check.main(["--random", "8b"])
    assert ended.value.code == 2


def test_no_section_begins_too_late(
    gpu: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    gpu(first=boom)
    assert check.main(["--seconds", "0", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["sections"][0]["skipped"] == "no time is left; SECTIONS=first runs it alone"
    assert capsys.readouterr().err.endswith("gpu-check: skipped, or stopped before their end: first\n")


def test_a_bar_that_is_missed_is_an_error_if_that_is_asked_for(gpu: Callable[..., None], tmp_path: Path) -> None:
    gpu(first=lambda task: task.notebook.add(Rate("prompts", "0.5b", 64, 1.0)))
    arguments = ["--out", str(tmp_path / "report.json")]
    assert check.main(arguments) == 0
    assert check.main([*arguments, "--check"]) == 1
    assert [bar["met"] for bar in json.loads((tmp_path / "report.json").read_text())["bars"]] == [False]
