"""docs/kernels.md: its code runs, and its list of functions matches the code."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from marcot import kernels
from support.programs.code_blocks import CodeBlock, code_blocks

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"


def blocks(language: str) -> list[CodeBlock]:
    return [block for block in code_blocks(PAGE) if block.language == language]


def signature(name: str) -> str:
    """The signature of `name` as the page prints it: parameters with defaults, and the return type."""
    found = inspect.signature(getattr(kernels, name))
    parameters = [each.replace(annotation=each.empty) for each in found.parameters.values()]
    returns = f" -> {found.return_annotation}" if inspect.isfunction(getattr(kernels, name)) else ""
    return f"{name}{inspect.Signature(parameters)}{returns}"


@pytest.mark.parametrize("op_set", ["cpu", "reference", "triton"])
def test_its_python_runs_on_every_set(op_set: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own assertions compare tree attention with plain attention."""
    monkeypatch.setenv("MARCOT_KERNELS", op_set)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile("\n" * (block.line - 1) + block.text, PAGE, "exec"), names)
    assert names["drawn"].shape == (9,)


def test_the_example_has_thirty_lines_at_most() -> None:
    assert len([line for line in blocks("python")[0].text.splitlines() if line]) <= 30


def test_the_signatures_are_these() -> None:
    [listed] = blocks("text")
    lines = listed.text.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert line == signature(line.partition("(")[0])


def test_the_results_have_the_fields_that_are_stable() -> None:
    assert "positions" in kernels.TreePlan._fields
    assert kernels.HeadTopK._fields == (
        "top_ids", "top_logits", "lse", "target_logits", "drawn_ids", "drawn_logits", "scaled_lse"
    )  # fmt: skip
    assert (kernels.PAGE_SIZE, kernels.MAX_TOP_K) == (16, 64)
    assert {line.partition("(")[0] for line in blocks("text")[0].text.splitlines()} <= set(kernels.__all__)
