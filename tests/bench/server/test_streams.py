"""The streams that servers are compared by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine import Engine
from support.server.live_server import live_server

from bench.server.streams import TOKENS, in_python, prompts, through_server


def test_streams_through_a_server_and_in_python_are_timed(tiny_checkpoint: Callable[..., Path]) -> None:
    asked = [[5, 6, 7], [5, 6, 8], [9]]
    engine = Engine.load(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1), kv_tokens=2048)
    with live_server(engine, names=("model",)) as server:
        through = asyncio.run(through_server(server.url, asked))
        before = server.engine.stats().generated_tokens
        inside = asyncio.run(in_python(server.engine, asked))
        assert server.engine.stats().generated_tokens - before == len(asked) * TOKENS == before
        with pytest.raises(RuntimeError, match=r"400.*vocabulary"):
            asyncio.run(through_server(server.url, [[5], [10_000]]))
        assert server.idle()
    for times in (through, inside):
        assert 0 < times.first_s < len(asked) * TOKENS / times.tokens_per_s


def test_prompts_share_nothing_or_a_prefix() -> None:
    own = [prompt for turn in range(3) for prompt in prompts(4, turn)]
    assert len({tuple(prompt[:2]) for prompt in own}) == 12
    first, second = (prompts(4, turn, shared=True) for turn in (0, 1))
    assert len({prompt[0] for prompt in first}) == 1
    assert {prompt[0] for prompt in first}.isdisjoint(prompt[0] for prompt in [*second, *own])
