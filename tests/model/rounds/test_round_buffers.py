"""When the host may write to buffers that the GPU copies from, on a stand-in for a CUDA event."""

from __future__ import annotations

import pytest
import torch
from marcot.model.rounds.round_buffers import Capacity, RoundBuffers


def test_rows_become_padding_only_after_the_last_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Event:
        def synchronize(self) -> None:
            calls.append("wait")

        def record(self) -> None:
            calls.append("copied")

    buffers = RoundBuffers(Capacity.least(4), torch.device("cpu"))
    monkeypatch.setattr(buffers, "_copied", Event())
    buffers.pad()
    buffers.pad()
    assert calls == ["wait", "copied", "wait", "copied"]
