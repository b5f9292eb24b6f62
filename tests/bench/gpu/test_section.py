"""A section of `make gpu-check`: what is left of one that ends early."""

from __future__ import annotations

import contextlib
import signal
import time

import pytest
from support.kernels.gpu_samples import RIGHT

from bench.gpu.section import Notebook, SkippedError, run_section


def test_an_error_keeps_what_was_found_before() -> None:
    def run(notebook: Notebook) -> None:
        notebook.add(RIGHT)
        notebook.note("so far")
        raise ValueError("boom")

    told: list[str] = []
    ended = run_section("kernels", True, run, told.append, 60)
    assert (ended.findings, ended.notes, ended.status) == ([RIGHT], ["so far"], "failed")
    assert ended.error is not None
    assert "ValueError: boom" in ended.error
    assert told == [RIGHT.line, "so far", ended.error]


def test_a_section_is_stopped_when_its_time_is_over() -> None:
    def run(notebook: Notebook) -> None:
        notebook.add(RIGHT)
        begun = time.monotonic()
        while time.monotonic() < begun + 30:
            with contextlib.suppress(Exception):  # as sections do that note the error of another program
                list(range(1000))

    ended = run_section("peers", False, run, lambda line: None, 0.05)
    assert (ended.findings, ended.error, ended.status) == ([RIGHT], None, "skipped")
    assert ended.skipped == "stopped after 0 s, when no time was left; SECTIONS=peers runs it alone"
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_skipped_section_says_why() -> None:
    def run(notebook: Notebook) -> None:
        raise SkippedError("nothing to do")

    told: list[str] = []
    ended = run_section("peers", False, run, told.append, 60)
    assert (ended.skipped, ended.error, ended.status) == ("nothing to do", None, "skipped")


@pytest.mark.parametrize(("package", "status"), [("gguf", "skipped"), ("marcot.kernels.new", "failed")])
def test_what_a_bare_machine_may_lack_is_said(package: str, status: str) -> None:
    def run(notebook: Notebook) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    ended = run_section("logprobs", True, run, lambda line: None, 60)
    assert ended.status == status
    if status == "skipped":
        assert ended.skipped == "needs gguf, which is not installed"
