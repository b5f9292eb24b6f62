"""The section of `make gpu-check` that runs the kernel tests."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from gpu_samples import CARD

from bench.gpu import kernel_tests
from bench.gpu.report import GpuReport, Section
from bench.gpu.section import Task, run_section

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

    monkeypatch.setattr(kernel_tests, "ROOT", folder)
    monkeypatch.setattr(kernel_tests, "_TESTS", ("test_*.py",))
    monkeypatch.setattr(kernel_tests, "_run_tests", fake)
    return run_section("tests", True, lambda notebook: kernel_tests.run(Task("model", "cuda", notebook)))


def test_failed_tests_are_wrong_and_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = run_tests(monkeypatch, tmp_path, PASSED, JUNIT, PASSED)
    assert ended.status == "wrong"
    named = ["failed: tests.a::two", "failed: tests.b::four", "what test_1.py printed"]
    assert ended.notes == [*named, "3 tests passed, 1 were skipped"]
    assert ended.wrong[0].value == 2


def test_tests_that_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = run_tests(monkeypatch, tmp_path, PASSED, PASSED)
    assert (ended.status, ended.notes) == ("right", ["2 tests passed, 0 were skipped"])


@pytest.mark.parametrize("xml", [None, "<testsuites/>"], ids=["killed", "none"])
def test_tests_that_do_not_run_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, xml: str | None) -> None:
    ended = run_tests(monkeypatch, tmp_path, PASSED, xml)
    assert GpuReport(CARD, [ended]).exit_code == 1
    assert ended.notes == ["1 tests passed, 0 were skipped"]
    assert ended.error is not None
    assert "what test_1.py printed" in ended.error
    assert "what test_0.py printed" not in ended.error


def test_every_pattern_finds_tests() -> None:
    for pattern in kernel_tests._TESTS:
        assert list(kernel_tests.ROOT.glob(pattern)), pattern


def test_pytest_is_run_and_its_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytest.ini").touch()
    test, report = tmp_path / "test_it.py", tmp_path / "tests.xml"
    test.write_text(
        "import os\n"
        "def test_yes(): assert (os.environ['KERNEL_SETS'], os.environ['MARCOT_TEST_DEVICE']) == ('triton', 'cuda')\n"
        "def test_no(): 1 / 0\n"
        "def test_slow(): __import__('time').sleep(float(os.environ.get('NAP', 0)))\n"
    )
    monkeypatch.setattr(kernel_tests, "ROOT", tmp_path)
    assert "ZeroDivisionError" in kernel_tests._run_tests(test, report, time.monotonic() + 60)
    outcome = kernel_tests.read_outcome(report.read_text())
    assert (outcome.passed, len(outcome.failed)) == (2, 1)
    report.unlink()
    monkeypatch.setenv("NAP", "60")
    assert "no end after" in kernel_tests._run_tests(test, report, time.monotonic() + 2)
    assert not report.exists()
