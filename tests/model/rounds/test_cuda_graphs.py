"""The order of calls that capture a step, on a stand-in for CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from marcot.model.rounds.cuda_graphs import CudaGraphs

CPU = torch.device("cpu")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls, in order."""
    done: list[str] = []

    class Stream:
        def __init__(self, name: object) -> None:
            self.name = str(name)

        def wait_stream(self, other: Stream) -> None:
            done.append(f"{self.name} waits for {other.name}")

    class CUDAGraph:
        def replay(self) -> None:
            done.append("replay")

    @contextmanager
    def capture(graph: CUDAGraph, *, pool: str, stream: Stream) -> Iterator[None]:
        done.append(f"capture in {pool} on {stream.name}")
        yield
        done.append("captured")

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        done.append(f"on {stream.name}")
        yield
        done.append(f"off {stream.name}")

    fake = SimpleNamespace(
        Stream=Stream,
        CUDAGraph=CUDAGraph,
        graph=capture,
        stream=on,
        current_stream=lambda: Stream("current"),
        graph_pool_handle=lambda: "pool",
    )
    monkeypatch.setattr("marcot.model.rounds.cuda_graphs.torch", SimpleNamespace(cuda=fake, zeros=torch.zeros))
    return done


def test_a_step_is_run_before_it_is_captured_and_replayed_without_it(calls: list[str]) -> None:
    made: list[torch.Tensor] = []

    def run() -> torch.Tensor:
        calls.append("run")
        made.append(torch.zeros(1))
        return made[-1]

    graphs = CudaGraphs(CPU)
    assert calls == [], "nothing is captured before there is a step"
    repeat = graphs(run)
    warm = ["cpu waits for current", "on cpu", "run", "off cpu", "current waits for cpu"]
    captured = ["capture in pool on cpu", "run", "captured"]
    anchor = ["capture in pool on cpu", "captured"]
    assert calls == [*anchor, *warm, *captured]
    calls.clear()
    assert repeat() is made[1], "the tensor of the captured run, not of the one before"
    assert repeat() is made[1]
    assert calls == ["replay", "replay"]
    calls.clear()
    graphs(run)
    assert calls == [*warm, *captured], "the pool has its anchor"
