"""A section of `make gpu-check`: what is left of one that ends early."""

from __future__ import annotations

from gpu_samples import RIGHT

from bench.gpu.section import Notebook, SkippedError, run_section


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
