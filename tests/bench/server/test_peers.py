"""Tests of the comparison with other servers."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest

from bench.server import peers


@pytest.mark.parametrize("name", [peers.LLAMA, peers.VLLM])
def test_a_peer_has_room_for_every_stream(name: str) -> None:
    """llama-server divides its context among its slots; vLLM's limit is per stream."""
    words = peers._words(name, f"{sys.executable} --flag", "model.gguf", threads=2, streams=16)
    assert words[:2] == [sys.executable, "--flag"]
    numbers = dict(pairwise(words))
    context = {peers.LLAMA: ("-np", "-c", 16), peers.VLLM: ("--max-num-seqs", "--max-model-len", 1)}[name]
    streams, length, shares = context
    assert numbers[streams] == "16"
    longest = max(map(len, (*peers.prompts(16, 0), *peers.prompts(16, 0, shared=True))))
    assert int(numbers[length]) >= shares * (longest + peers.TOKENS)


def test_results_name_no_folders() -> None:
    assert peers._public("/home/me/llama-server -fa on --model /data/m.gguf") == "llama-server -fa on --model m.gguf"
