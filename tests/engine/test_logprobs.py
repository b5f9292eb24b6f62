"""Log-probabilities against transformers in fp32: every configuration, in prefill and decode."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import Engine, Sampling
from marcot.engine.errors import ContextOverflowError
from marcot.kernels import BlockTensor
from marcot.model import WeightFormat
from support.checkpoints.tiny_gguf import convert
from support.kernels import kernel_sets
from transformers import AutoModelForCausalLM, MistralConfig

LLAMA31_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "rope_theta": 2e6, "factor": 2.0, "original_max_position_embeddings": 512}
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2-tied-group-7": ("qwen2", {}),
    "qwen2-tied-odd-vocabulary": ("qwen2", {"vocab_size": 1003}),
    "qwen2-untied-group-6": ("qwen2-untied", {}),
    "qwen2-untied-group-1": ("qwen2-untied", {"num_key_value_heads": 12}),
    "qwen2.5-yarn-group-4": ("qwen2.5-yarn", {}),
    "llama3.2-llama3-rope-group-4": ("llama3.2", {}),
    "llama3.2-wide-heads": ("llama3.2", {"head_dim": 32, "num_attention_heads": 6, "num_key_value_heads": 6}),
    "smollm2-group-3": ("smollm2", {}),
    "smollm2-untied-one-layer": ("smollm2", {"tie_word_embeddings": False, "num_hidden_layers": 1}),
    "llama3.1-untied": ("llama3.2", {"tie_word_embeddings": False, "rope_parameters": LLAMA31_ROPE}),
    "qwen3-wide-heads": ("qwen3", {}),
    "qwen3-untied-group-8": (
        "qwen3",
        {"tie_word_embeddings": False, "num_attention_heads": 8, "num_key_value_heads": 1},
    ),
    "mistral-narrow-heads": ("mistral", {}),
    "smollm3-every-fourth-without-rope": ("smollm3", {}),
    "smollm3-yarn-some-without-rope": ("smollm3", {"no_rope_layers": [0, 1, 1, 0, 1], "rope_parameters": YARN}),
}
STEEP: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {"hidden_size": 448, "intermediate_size": 608, "num_hidden_layers": 4, "vocab_size": 1000}),
    "qwen2-untied": ("qwen2-untied", {"intermediate_size": 160}),
    "qwen2.5-yarn": ("qwen2.5-yarn", {"intermediate_size": 160}),
    "llama3.2": ("llama3.2", {"hidden_size": 256, "intermediate_size": 640, "num_hidden_layers": 6}),
    "smollm2": ("smollm2", {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 6}),
    "qwen3": ("qwen3", {}),
}
"""Models with logits of 10 nats and more, and with rows that can be cut into blocks of 32."""
TOLERANCE = 1e-4
Checkpoints = Callable[..., Path]


@pytest.fixture(params=CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys(), scope="module")
def checkpoint(request: pytest.FixtureRequest, tiny_checkpoint: Checkpoints) -> Path:
    kind, overrides = request.param
    return tiny_checkpoint(kind, **overrides)


def oracle_logprobs(folder: Path, ids: list[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """`[tokens, vocab]`: row i is the distribution after token i."""
    with torch.inference_mode():
        return oracle(folder, dtype)(torch.tensor([ids])).logits[0].log_softmax(dim=-1)


@cache
def oracle(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """The model, loaded by transformers once, because loading takes longer than everything it computes here."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def random_ids(count: int, vocab: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, vocab, (count,), generator=generator).tolist()


def assert_same_top(ids: np.ndarray, logprobs: np.ndarray, oracle: torch.Tensor) -> None:
    """Compare two rankings: the same tokens in the same order, up to ties within the tolerance."""
    expected = oracle.topk(ids.shape[1], dim=-1)
    np.testing.assert_allclose(logprobs, expected.values.numpy(), atol=TOLERANCE, rtol=0)
    differs = ids != expected.indices.numpy()
    assert np.abs(oracle.gather(1, torch.from_numpy(ids)).numpy() - logprobs)[differs].max(initial=0) < TOLERANCE
    assert differs.mean() < 0.01


def test_prefill_logprobs_equal_transformers(checkpoint: Path) -> None:
    engine = Engine.load(str(checkpoint), kv_tokens=4096)
    ids = random_ids(203, engine.config.vocab_size)
    oracle = oracle_logprobs(checkpoint, ids)[:-1]
    (score,) = engine.score([ids])
    expected = oracle.gather(1, torch.tensor(ids)[1:, None])[:, 0]
    assert np.isnan(score.logprobs[0])
    np.testing.assert_allclose(score.logprobs[1:], expected.numpy(), atol=TOLERANCE, rtol=0)
    assert_same_top(score.top_ids[1:], score.top_logprobs[1:], oracle)


@pytest.mark.parametrize("kind", ["llama3.2", "qwen3", "mistral", "smollm3"])
def test_logprobs_of_a_gguf_file_equal_transformers(kind: str, tiny_checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = tiny_checkpoint(kind, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    engine = Engine.load(str(convert(folder, tmp_path / "tiny.gguf")), kv_tokens=512)
    ids = random_ids(101, engine.config.vocab_size, seed=5)
    (score,) = engine.score([ids])
    assert_same_top(score.top_ids[1:], score.top_logprobs[1:], oracle_logprobs(folder, ids)[:-1])


@pytest.mark.parametrize("window", [16, "default"])
def test_a_sliding_window_limits_the_context(window: int | str, tiny_checkpoint: Checkpoints, tmp_path: Path) -> None:
    """Within the window a model sees everything and agrees with transformers; beyond it, marcot refuses to compute."""
    folder = Path(shutil.copytree(tiny_checkpoint("mistral"), tmp_path / "windowed"))
    config = json.loads((folder / "config.json").read_text())
    del config["sliding_window"]
    if window != "default":
        config["sliding_window"] = window
    (folder / "config.json").write_text(json.dumps(config))
    engine = Engine.load(str(folder), kv_tokens=64)
    if window == "default":
        assert engine.config.max_positions == MistralConfig().sliding_window
        return
    ids = random_ids(17, engine.config.vocab_size, seed=6)
    (score,) = engine.score([ids[:16]])
    assert_same_top(score.top_ids[1:], score.top_logprobs[1:], oracle_logprobs(folder, ids[:16])[:-1])
    with pytest.raises(ContextOverflowError, match=r"context is 16 \(its sliding window"):
        engine.score([ids])


def test_decode_logprobs_equal_transformers(checkpoint: Path) -> None:
    engine = Engine.load(str(checkpoint), kv_tokens=4096)
    prompt = random_ids(37, engine.config.vocab_size, seed=1)
    sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=41, ignore_eos=True, seed=3)
    (child,) = engine.expand(engine.prefill(prompt), 1, sampling)
    oracle = oracle_logprobs(checkpoint, prompt + child.token_ids.tolist())[len(prompt) - 1 : -1]
    expected = oracle.gather(1, torch.from_numpy(child.token_ids)[:, None])[:, 0]
    np.testing.assert_allclose(child.logprobs, expected.numpy(), atol=TOLERANCE, rtol=0)
    assert_same_top(child.top_ids, child.top_logprobs, oracle)
    top = oracle.exp().topk(5, dim=-1).values.sum(dim=-1)
    np.testing.assert_allclose(child.confidences, (expected.exp() / top).numpy(), atol=TOLERANCE, rtol=0)
    engine.tree.check_integrity()


def test_chunked_prefill_equals_one_forward_pass(checkpoint: Path) -> None:
    engine = Engine.load(str(checkpoint), kv_tokens=4096)
    ids = random_ids(1300, engine.config.vocab_size, seed=2)
    if engine.config.max_positions < len(ids):
        ids = ids[: engine.config.max_positions]
    (score,) = engine.score([ids])
    expected = oracle_logprobs(checkpoint, ids)[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]
    np.testing.assert_allclose(score.logprobs[1:], expected.numpy(), atol=TOLERANCE, rtol=0)


def test_bfloat16_is_as_close_to_fp32_as_transformers_in_bfloat16(checkpoint: Path) -> None:
    engine = Engine.load(str(checkpoint), dtype="bfloat16", kv_tokens=4096)
    ids = random_ids(60, engine.config.vocab_size, seed=4)
    (score,) = engine.score([ids])
    targets = torch.tensor(ids)[1:, None]
    exact = oracle_logprobs(checkpoint, ids)[:-1].gather(1, targets)[:, 0]
    rounded = oracle_logprobs(checkpoint, ids, torch.bfloat16)[:-1].gather(1, targets)[:, 0].float()
    ours, theirs = (np.abs(x - exact.numpy()).mean() for x in (score.logprobs[1:], rounded.numpy()))
    assert ours < 1.5 * theirs + 1e-3
    assert ours < 0.5


@pytest.mark.parametrize("weights", ["stored", "int8"])
@pytest.mark.parametrize("kernels", ["cpu", "sse2"])
def test_exact_is_as_close_to_fp64_as_torch_in_fp32(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tiny_checkpoint: Checkpoints,
    kernels: str,
    weights: WeightFormat,
) -> None:
    """By root mean square over all models. Builds for other vector widths give the same bits as one of these."""
    ops = kernel_sets.kernel_set(kernels, request.config.cache.mkdir("kernels"))
    monkeypatch.setattr("marcot.kernels.cpu.load", lambda: ops)
    ratios = []
    for kind, overrides in STEEP.values():
        folder = tiny_checkpoint(kind, **overrides)
        ids = tuple(random_ids(250, overrides.get("vocab_size", 331)))
        wide, narrow = (stored_logprobs(folder, ids, dtype, weights) for dtype in (torch.float64, torch.float32))
        (score,) = Engine.load(str(folder), compute="exact", weights=weights, kv_tokens=512).score([ids])
        ours, theirs = (
            (logprobs - wide).square().mean().sqrt().item()
            for logprobs in (torch.from_numpy(score.logprobs[1:]).double(), narrow.double())
        )
        ratios.append(ours / theirs)
    assert np.sqrt(np.mean(np.square(ratios))) < 1


@cache
@torch.inference_mode()
def stored_logprobs(folder: Path, ids: tuple[int, ...], dtype: torch.dtype, weights: WeightFormat) -> torch.Tensor:
    """Log-probabilities `[tokens - 1]` of `ids` by transformers, with matrices rounded as `weights` stores them."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for weight in model.parameters():
        if weight.ndim == 2 and weights == "int8":
            weight.copy_(BlockTensor.quantize(weight, "Q8_0").dequantize())
    logprobs = model.to(dtype)(torch.tensor([ids])).logits[0, :-1].log_softmax(dim=-1)
    return logprobs.gather(1, torch.tensor(ids)[1:, None])[:, 0]
