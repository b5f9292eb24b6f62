"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from support.kernels import triton_device  # first: it decides how Triton runs kernels, before Triton is loaded

# isort: split
import marcot.engine  # noqa: F401 - first: it decides how OpenMP waits, before torch loads it
import pytest
import torch
from marcot.kernels import select
from support.programs import system_tools
from support.programs.headless_browser import Browser, find_chromium


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which programs are missing for the skipped tests, and how to install them."""
    skipped = terminalreporter.stats.get("skipped", [])
    for line in system_tools.summary(report.longrepr[2] for report in skipped):
        terminalreporter.write_line(line, yellow=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute tests to processes by our own rules, where xdist would keep the tests of a file together."""
    if config.getoption("dist") != "loadfile":
        return None
    from support.distribution import Distribution

    return Distribution(config, log)


def pytest_collection_finish() -> None:
    """Exempt everything imported and collected so far from garbage collection.

    That is a million objects, which take half a second in every `gc.collect()` of tests and of the code under test.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _kernels() -> None:
    """Build the CPU kernels, if they are not built yet, before a test checks what a command prints."""
    select(torch.device("cpu"))


@pytest.fixture(scope="session", autouse=True)
def _quick_interpreter() -> None:
    """Speed up Triton's interpreter, where it is used."""
    if triton_device.DEVICE == "cpu" and find_spec("triton") is not None:
        from support.kernels import quick_interpreter

        quick_interpreter.install()


@pytest.fixture(autouse=True)
def _threads(request: pytest.FixtureRequest) -> None:
    """One thread for tiny models, whose ops are shorter than the wait for a second one; all cores for real models."""
    torch.set_num_threads((os.cpu_count() or 1) if request.node.get_closest_marker("real") else 1)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_checkpoint(kind, **overrides)`: a random checkpoint folder, written once per session; do not modify it."""
    from support.checkpoints import tiny  # here: transformers takes two seconds to import

    written: dict[str, Path] = {}

    def write(kind: str, **overrides: Any) -> Path:
        key = repr((kind, sorted(overrides.items())))
        if key not in written:
            written[key] = tiny.write_tiny(tmp_path_factory.mktemp("tiny") / kind, kind, **overrides)
        return written[key]

    return write


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """`real_model(name)`: the path of a built-in model, downloaded to the user's cache if it is not there."""
    from marcot.model import locate

    return locate


@pytest.fixture
def poison() -> Iterator[None]:
    """Fill new tensors with NaN and the largest integers, so that memory a kernel forgets to write is noticed."""
    assert torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=triton_device.DEVICE != "cpu")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with one page."""
    binary = find_chromium()
    if binary is None:
        pytest.skip(system_tools.why_skipped("chromium"))
    profile: Path = tmp_path_factory.mktemp("profile")
    with Browser(binary, profile) as browser:
        yield browser
