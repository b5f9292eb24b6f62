"""K and V in fp8: what may change, what may not, and which kernels support it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import Engine, Expansion, InputError, Node, Sampling
from marcot.engine.kv import pool_size
from marcot.kernels import reference, select
from marcot.model import KVCache
from support.kernels import triton_device
from support.kernels.interpreter_arithmetic import round_fp8
from support.programs import system_tools

pytestmark = pytest.mark.usefixtures("poison")

PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31, 7, 120, 64, 300, 12, 13, 14, 15, 16, 200]
CPU = torch.device("cpu")

Load = Callable[..., Engine]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Callable[..., Path]) -> Load:
    """`load(kernels, ...)`: an engine on these kernels."""

    def load(kernels: str, **options: Any) -> Engine:
        monkeypatch.setenv("MARCOT_KERNELS", kernels)
        device = triton_device.DEVICE if kernels == "triton" else "cpu"
        folder = str(tiny_checkpoint("qwen2", num_hidden_layers=2))
        return Engine.load(folder, device=device, **({"kv_tokens": 2048, "dtype": "float32"} | options))

    return load


def cache_of(engine: Engine) -> KVCache:
    return engine._scheduler._step_runner._cache


def grow(engine: Engine) -> list[Node]:
    """Two branches, and more branches below the middle of the first and the end of the second."""
    free = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=3, ignore_eos=True, seed=3)
    prompt = engine.prefill(PROMPT)
    one, two = engine.expand(prompt, 2, free)
    full = prompt.kv.pages[0]
    before = [pages[:, full].clone() for pages in bytes_of(engine)]
    families = engine.expand([Expansion(one.prefix(2), 1, free), Expansion(two, 2, free)])
    for kept, pages in zip(before, bytes_of(engine), strict=True):
        assert torch.equal(kept, pages[:, full]), "what is shared is not written again"
    engine.tree.check_integrity()
    assert engine.usage.prefill_tokens == len(PROMPT) + 1, "the prompt once, and a branch's last token"
    return [one, two, *(node for family in families for node in family)]


def bytes_of(engine: Engine) -> tuple[torch.Tensor, torch.Tensor]:
    cache = cache_of(engine)
    return cache.k.view(torch.uint8), cache.v.view(torch.uint8)


def changed(nodes: list[Node], exact: Engine) -> float:
    """The mean difference of log-probabilities from those with an fp32 cache."""
    pairs = zip(nodes, exact.score([node.path_ids for node in nodes]), strict=True)
    far = np.concatenate([np.abs(node.logprobs - score.logprobs[-len(node.logprobs) :]) for node, score in pairs])
    return float(far.mean())


def test_log_probabilities_stay_close(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 0.2 nats with 3 mantissa bits, and twice that with 2, in a model of random weights."""
    exact, far = load("reference"), []
    for pages in (torch.float8_e4m3fn, torch.float8_e5m2):
        monkeypatch.setattr(reference, "fp8_dtype", pages)
        small = load("reference", kv_dtype="fp8")
        far.append(changed(grow(small), exact))
        assert cache_of(small).k.dtype == pages
    assert 0 < far[0] < 0.2
    assert far[0] < far[1] < 0.4


def test_the_gpu_kernels_agree_with_the_reference(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same cached numbers, which every layer and head scales by its own factors."""
    if triton_device.DEVICE == "cpu":
        round_fp8(monkeypatch)
    triton = load("triton", kv_dtype="fp8")
    monkeypatch.setattr(reference, "fp8_dtype", cache_of(triton).k.dtype)
    nodes = grow(triton)
    scores = load("reference", kv_dtype="fp8").score([node.path_ids for node in nodes])
    for node, score in zip(nodes, scores, strict=True):
        np.testing.assert_allclose(node.logprobs, score.logprobs[-len(node.logprobs) :], atol=1e-4, rtol=0)


def test_a_token_takes_half_of_16_bits(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    half, small = load("reference", dtype="float16"), load("reference", dtype="float16", kv_dtype="fp8")
    assert 2 * cache_of(small).nbytes == cache_of(half).nbytes
    config = half.config
    assert cache_of(half).nbytes == 2048 * 2 * config.num_layers * config.num_kv_heads * config.head_dim * 2


def test_twice_as_many_tokens_fit(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(pool_size, "_KV_SHARE_OF_MEMORY", {"cpu": 3e6 / memory})
    half, small = (load("reference", dtype="float16", kv_tokens=None, kv_dtype=kind) for kind in ("auto", "fp8"))
    for loaded in (half, small):
        cache = cache_of(loaded)
        page = cache.nbytes // cache.k.shape[1]
        assert cache.nbytes <= 3e6 < cache.nbytes + 2 * page
    assert abs(small.tree.pool.capacity - 2 * half.tree.pool.capacity) <= 1


def test_kernels_without_it_say_what_to_do(load: Load) -> None:
    if select(CPU).name != "cpu":
        pytest.skip(system_tools.why_skipped("g++"))
    with pytest.raises(InputError, match=r"the cpu kernels have no fp8 cache; use kv_dtype='auto', or run on a GPU"):
        load("cpu", kv_dtype="fp8")
    with pytest.raises(InputError, match="kv_dtype='int4': must be auto or fp8"):
        load("reference", kv_dtype="int4")
