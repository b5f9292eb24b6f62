"""The three real GGUF files against transformers' own GGUF loading, in fp32."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
import pytest
import torch
from marcot.engine import Engine, Expansion, Sampling, Score
from transformers import AutoModelForCausalLM

pytestmark = [pytest.mark.real, pytest.mark.slow]

NEW_TOKENS = {"smollm2-135m": 16, "qwen2.5-coder-0.5b": 16, "qwen2.5-coder-1.5b": 8}
"""Most tokens of a greedy continuation, by model."""
TOLERANCE = 1e-4
TEXT = (
    "Natalia sold 48 clips in April, and then she sold half as many clips in May: 48 / 2 = 24, so 72 altogether.\n\n"
    "def add(first: int, second: int) -> int:\n    return first + second\n\n小明有三个苹果，又买了五个。"
)
CHATS = (
    "What is 17 + 25?",
    "Write a Python function that reverses a string.",
    "用一句话介绍北京。",
    "Name three primary colours.",
    "小明有三个苹果，又买了五个，一共有几个？",
)
TEXTS = (
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "从前有座山，山里有座",
    "2, 4, 6, 8, 10,",
    "SELECT name, age FROM users WHERE",
)


class Ours(NamedTuple):
    """The engine's results: for each token of `TEXT`, and ten greedy continuations."""

    text_ids: list[int]
    score: Score
    prompts: list[list[int]]
    continuations: list[list[int]]
    end_ids: frozenset[int]


@pytest.fixture(params=NEW_TOKENS, scope="module")
def model(request: pytest.FixtureRequest, real_model: Callable[[str], Path]) -> Path:
    return real_model(request.param)


@pytest.fixture(scope="module")
def ours(model: Path) -> Ours:
    """Computed before transformers loads the model, so that only one copy of the weights is in memory."""
    engine = Engine.load(str(model), dtype="float32", compute="exact", kv_tokens=4096)
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    chats = [tokenizer.encode(tokenizer.chat([{"role": "user", "content": question}])) for question in CHATS]
    prompts = chats + [tokenizer.encode(text) for text in TEXTS]
    text_ids = tokenizer.encode(TEXT)
    (score,) = engine.score([text_ids])
    sampling = Sampling(temperature=0.0, max_tokens=NEW_TOKENS[model.stem])
    expansions = [Expansion(engine.prefill(prompt), 1, sampling) for prompt in prompts]
    continuations = [children[0].token_ids.tolist() for children in engine.expand(expansions)]
    engine.tree.check_integrity()
    return Ours(text_ids, score, prompts, continuations, frozenset(engine.config.eos_token_ids))


@pytest.fixture(scope="module")
def theirs(ours: Ours, model: Path) -> torch.nn.Module:
    """The model as transformers loads it, except that it reads the file and builds its table of names only once."""
    gc.collect()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GGUFReader", "get_tensor_name_map"):
            patch.setattr(gguf, name, cache(getattr(gguf, name)))
        return AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32)


@torch.inference_mode()
def test_logprobs_equal_transformers(ours: Ours, theirs: torch.nn.Module) -> None:
    """Logits are normalised in fp64: torch's fp32 `log_softmax` is off by 1e-4 over 152,000 tokens."""
    logprobs = theirs(torch.tensor([ours.text_ids])).logits[0, :-1].double().log_softmax(dim=-1)
    expected = logprobs.gather(1, torch.tensor(ours.text_ids)[1:, None])[:, 0]
    np.testing.assert_allclose(ours.score.logprobs[1:], expected.numpy(), atol=TOLERANCE, rtol=0)
    top = logprobs.topk(5, dim=-1)
    np.testing.assert_allclose(ours.score.top_logprobs[1:], top.values.numpy(), atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(ours.score.top_ids[1:], top.indices.numpy())


@torch.inference_mode()
def test_greedy_continuations_equal_transformers(ours: Ours, theirs: torch.nn.Module, model: Path) -> None:
    """Each token is the most probable one after the tokens before it, which is the definition of greedy."""
    for prompt, tokens in zip(ours.prompts, ours.continuations, strict=True):
        logits = theirs(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        assert logits.argmax(dim=-1).tolist() == tokens
        assert ours.end_ids.isdisjoint(tokens[:-1])
        most = NEW_TOKENS[model.stem]
        assert len(tokens) == most or (len(tokens) < most and tokens[-1] in ours.end_ids)
