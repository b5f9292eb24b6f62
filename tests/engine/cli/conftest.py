"""`marcot(...)` runs the command line in the test's process: a new process would import torch for every case."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from marcot.engine import Engine, Outcome
from marcot.engine.cli import main


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output, parsed as strict JSON lines."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in self.out.splitlines()]


@pytest.fixture
def marcot(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object, stdin: str = "") -> Ended:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["marcot", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def ctrl_c_after_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt as soon as the first question is answered."""
    stream = Engine.stream

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for event in stream(*arguments, **options):
            yield event
            if isinstance(event, Outcome):
                raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "stream", interrupted)


@pytest.fixture(scope="session")
def talker(tiny_checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint with a tokenizer and a chat template."""
    return tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)


@pytest.fixture(scope="session")
def mute(tiny_checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint without a tokenizer."""
    return tiny_checkpoint("qwen2", num_hidden_layers=1)
