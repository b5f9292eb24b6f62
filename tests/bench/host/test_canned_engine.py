"""The engine on canned kernels draws what the canned text says, and a step is counted kernel by kernel."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import pairwise

from marcot.engine import MCTS, Sampling

from bench.common.remote import Remote
from bench.common.shaped_checkpoint import CONFIGS
from bench.host.canned_engine import canned_engine
from bench.host.canned_kernels import DeviceClock
from bench.host.canned_text import END, chain, text_tokenizer


def test_every_token_is_one_that_may_follow() -> None:
    engine, follows = canned_engine(DeviceClock()), chain().top_ids[:, :20].tolist()
    with engine.prefill([3, 1, 4]) as node:
        for child in engine.expand(node, 5, Sampling(max_tokens=33, ignore_eos=True)):
            path = [4, *child.token_ids.tolist()]
            assert len(path) == 34
            assert all(after in follows[before] for before, after in pairwise(path))
            child.release()


def test_the_most_probable_chain_ends_after_some_steps() -> None:
    top = chain().top_ids[:, 0].tolist()
    path = [1]
    while path[-1] != END:
        path.append(top[path[-1]])
        assert len(path) < 1000
    assert text_tokenizer().decode(path).count("\n\n") >= 2


def test_a_search_goes_through() -> None:
    clock = DeviceClock()
    [result] = canned_engine(clock).search("How many?", MCTS(rollouts=2))
    assert len(result.tree) > 2
    assert clock.seconds > 0


def test_a_counted_token_has_each_kernel_as_often_as_there_are_layers() -> None:
    config = CONFIGS["0.5b"]
    with Remote(sys.executable, {"TRITON_INTERPRET": "0"}, "bench.host.counting") as remote:
        found = remote.call("count", config=asdict(config), branches=3)
    kernels, layers = found["kernels"], config.num_layers
    assert {kernels[name] for name in ("_rope_store", "_attend", "_silu_mul")} == {layers}
    assert kernels["linear"] == 4 * layers
    assert kernels["_rms_norm"] == 2 * layers + 1
    attention = 2 * config.num_heads + 2 * config.num_kv_heads
    matrices = config.hidden_size * (attention * config.head_dim + 3 * config.intermediate_size)
    weights = 2 * (layers * matrices + config.vocab_size * config.hidden_size)
    assert weights < found["device_bytes"] < 1.1 * weights
    assert 1 < found["calls"] < 2, "sixteen graphs and two copies for sixteen tokens"
