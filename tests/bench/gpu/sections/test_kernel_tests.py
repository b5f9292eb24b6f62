"""The section of `make gpu-check` that runs the kernel tests."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.kernels.gpu_samples import CARD, OnceClock
from support.programs.processes import wait_until

from bench.gpu.report import GpuReport, Section
from bench.gpu.section import Task, run_section
from bench.gpu.sections import kernel_tests
from bench.gpu.sections.kernel_tests import Run

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="one"/>
<testcase classname="tests.a" name="two[x-1]"><failure message="x">y</failure></testcase>
<testcase classname="tests.b" name="three"><skipped/></testcase>
<testcase classname="tests.b" name="four"><error message="x">y</error></testcase>
</testsuite></testsuites>"""
ONE = '<testsuites><testsuite><testcase classname="tests.c" name="five"/></testsuite></testsuites>'


def section(
    monkeypatch: pytest.MonkeyPatch, folder: Path, together: Run, xml: str | None, alone: Sequence[str] = ()
) -> Section:
    """Run the section with a stand-in for pytest: all tests together give `together` and `xml`, and those in `alone`
    pass when run alone.
    """

    def fake(arguments: Sequence[str], report: Path, timeout_s: float) -> Run:
        if "-n" in arguments:
            if xml is not None:
                report.write_text(xml)
            return together
        if arguments[0] in alone:
            report.write_text(ONE)
        return Run("alone", True)

    (folder / "test_it.py").touch()
    monkeypatch.setattr(kernel_tests, "ROOT", folder)
    monkeypatch.setattr(kernel_tests, "_TESTS", ("test_*.py",))
    monkeypatch.setattr(kernel_tests, "run_tests", fake)
    task = Task([], "cuda", OnceClock(), None)  # type: ignore[arg-type]
    return run_section(
        "tests", True, lambda notebook: kernel_tests.run(task._replace(notebook=notebook)), lambda line: None, 600
    )


def test_tests_that_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = section(monkeypatch, tmp_path, Run("said", True), ONE)
    assert (ended.status, ended.notes) == ("right", ["1 tests passed, 0 were skipped"])


def test_failed_tests_are_wrong_and_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = section(monkeypatch, tmp_path, Run("said", True), JUNIT)
    assert ended.status == "wrong"
    named = ["failed: tests/a.py::two[x-1]", "failed: tests/b.py::four"]
    assert ended.notes == [*named, "1 tests passed, 1 were skipped", "said"]
    assert ended.wrong[0].value == 2


def test_what_passes_alone_is_not_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After an error of the device, every later test of its process fails too."""
    both = ["tests/a.py::two[x-1]", "tests/b.py::four"]
    ended = section(monkeypatch, tmp_path, Run("said", True), JUNIT, both)
    assert ended.status == "right"
    assert ended.notes == [
        *(f"failed beside others, passes alone: {name}" for name in both),
        "3 tests passed, 1 were skipped",
    ]


def test_what_is_not_run_again_stays_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_tests, "_MOST_AGAIN", 1)
    ended = section(monkeypatch, tmp_path, Run("said", True), JUNIT, ["tests/a.py::two[x-1]", "tests/b.py::four"])
    assert ended.wrong[0].value == 1


@pytest.mark.parametrize(
    ("ran", "xml"),
    [(Run("said", True), None), (Run("said", True), "<testsuites/>"), (Run("said", False), ONE)],
    ids=["killed", "none", "late"],
)
def test_tests_that_do_not_run_are_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: Run, xml: str | None
) -> None:
    ended = section(monkeypatch, tmp_path, ran, xml)
    assert GpuReport(CARD, [ended]).exit_code == 1
    assert ended.error is not None
    assert "said" in ended.error


def test_without_pytest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_tests, "find_spec", lambda name: None if name == "xdist" else object())
    ended = section(monkeypatch, tmp_path, Run("said", True), ONE)
    assert ended.skipped == "needs xdist, which is not installed"


def test_every_pattern_finds_tests() -> None:
    for pattern in kernel_tests._TESTS:
        assert list(kernel_tests.ROOT.glob(pattern)), pattern


class Impatient(subprocess.Popen[str]):
    """A process whose time is up as soon as the file `started` exists."""

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        if timeout == 3600:
            wait_until((kernel_tests.ROOT / "started").exists)
            raise subprocess.TimeoutExpired(self.args, timeout)
        return super().communicate(input, timeout)


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """Processes that a shell starts with `&` ignore Ctrl-C, and so do the programs that they start."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
def test_pytest_is_run_and_its_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "tests").mkdir()
    report = tmp_path / "tests.xml"
    (tmp_path / "tests/test_it.py").write_text(
        "import os\n"
        "def test_yes(): assert (os.environ['KERNEL_SETS'], os.environ['MARCOT_TEST_DEVICE']) == ('triton', 'cuda')\n"
        "def test_no(): 1 / 0\n"
        "def test_slow():\n"
        "    if 'ENDLESS' in os.environ:\n"
        "        open('started', 'w').close()\n"
        "        __import__('signal').pause()\n"
    )
    monkeypatch.setattr(kernel_tests, "ROOT", tmp_path)
    ran = kernel_tests.run_tests(["tests/test_it.py"], report, 60)
    assert "ZeroDivisionError" in ran.printed
    assert ran.in_time
    assert kernel_tests.read_outcome(report.read_text()) == (2, ["tests/test_it.py::test_no"], 0)
    report.unlink()
    monkeypatch.setenv("ENDLESS", "1")
    monkeypatch.setattr(subprocess, "Popen", Impatient)
    ran = kernel_tests.run_tests(["tests/test_it.py"], report, 3600)
    assert not ran.in_time
    assert "not finished after 3600 s" in ran.printed
    assert kernel_tests.read_outcome(report.read_text()).passed == 1, "it reports what it has"
