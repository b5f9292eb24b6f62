"""Which graphs are replayed, with stand-ins for them."""

from __future__ import annotations

import pytest
import torch

from bench.gpu.replays import counted_replays


def test_replays_are_counted_and_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[object] = []

    class Graph:
        def replay(self) -> None:
            happened.append(self)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    once, often, before = Graph(), Graph(), Graph()
    before.replay()
    with pytest.raises(ValueError, match="stop"), counted_replays() as counts:  # noqa: PT012
        once.replay()
        often.replay()
        often.replay()
        raise ValueError("stop")
    before.replay()
    assert counts == {once: 1, often: 2}
    assert happened == [before, once, often, often, before]
