"""What `make gpu-check` reports, and its exit code."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from support.kernels.gpu_samples import CARD, RIGHT, WRONG

from bench.gpu.findings import Check, Comparison, DecodeTiming, Finding, KernelTiming, ProfileRow, Rate
from bench.gpu.report import GpuReport, Section


def section(*findings: Finding, error: str | None = None, skipped: str | None = None, required: bool = True) -> Section:
    return Section("kernels", required, list(findings), ["a note"], error, skipped, 1.0)


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
    decode = DecodeTiming("marcot", "0.5b", 64, 0.005, 0.004, 282)
    beside = Comparison("lm_head_topk", "7B, 64 rows", 64, 3e-4, "cuBLAS", 2e-4)
    others = (beside, Rate("search", "7b", 256, 12345.6), ProfileRow("7b, 1 branches", "_merge", 25, 1.25e-4))
    text = GpuReport(CARD, [section(RIGHT, WRONG, kernel, decode, *others, error="Traceback: [red]boom[/red]")]).text()
    for part in (
        *("NVIDIA H100 80GB HBM3, sm_90, 132 processors, 80 GiB", "torch 2.13.0"),
        *("copies 3000 GB/s, multiplies bf16 800.0 TFLOP/s", "kernels: wrong, 1 s", "WRONG"),
        *("2.0", "1500", "50%", "2.00", "0%"),
        *("5.00", "4.00", "1.25", "1000", "282", "12800", "a note", "Traceback: [red]boom[/red]"),
        *("300.0", "200.0", "1.50", "12346", "_merge", "125.0"),
        *("LM head / cuBLAS, worst of 1", "≤ 1.30", "MISSED"),
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
