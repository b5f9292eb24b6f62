"""Servers of tiny models: one shared by most tests, and others that a test starts itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from marcot.engine import Engine
from support.server.live_server import LiveServer, live_server


@pytest.fixture(scope="session")
def talker(tiny_checkpoint: Callable[..., Path]) -> Path:
    """A checkpoint with a tokenizer and a chat template."""
    return tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1, max_position_embeddings=1024)


@pytest.fixture(scope="session")
def offline(talker: Path) -> Engine:
    """The same model, without a server."""
    return Engine.load(talker, kv_tokens=32_768)


@pytest.fixture(scope="module")
def shared(talker: Path) -> Iterator[LiveServer]:
    """A server with the default settings, shared by the tests of a file."""
    with live_server(Engine.load(talker, kv_tokens=32_768)) as server:
        yield server


@pytest.fixture
def server(shared: LiveServer) -> Iterator[LiveServer]:
    """The shared server, whose KV tree is checked after the test."""
    yield shared
    assert shared.idle()
    shared.check()


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx2.Client]:
    """A plain HTTP client of it."""
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def start(talker: Path) -> Iterator[Callable[..., LiveServer]]:
    """`start(**settings)`: a server for one test."""
    with ExitStack() as running:

        def run(kv_tokens: int = 16_384, **settings: Any) -> LiveServer:
            return running.enter_context(live_server(Engine.load(talker, kv_tokens=kv_tokens), **settings))

        yield run
