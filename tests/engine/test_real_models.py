"""The three real GGUF files against transformers' own GGUF loading, fp32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from marcot.engine import Engine, Expansion, Sampling
from marcot.model import open_checkpoint
from transformers import AutoModelForCausalLM, GenerationConfig

pytestmark = [pytest.mark.real, pytest.mark.slow]

NEW_TOKENS = {"smollm2-135m": 16, "qwen2.5-coder-0.5b": 16, "qwen2.5-coder-1.5b": 8}
"""Length of the greedy continuations: a step of 1.5 billion fp32 weights takes transformers half a second."""
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


class Oracle(NamedTuple):
    """What transformers says: the distribution after each token of `TEXT`, and ten greedy continuations.

    Logits are normalised in fp64: torch's fp32 `log_softmax` is off by 1e-4 over 152,000 tokens.
    """

    text_ids: list[int]
    logprobs: torch.Tensor
    prompts: list[list[int]]
    continuations: list[list[int]]


@pytest.fixture(params=NEW_TOKENS, scope="module")
def model(request: pytest.FixtureRequest, real_model: Callable[[str], Path]) -> Path:
    return real_model(request.param)


@pytest.fixture(scope="module")
def oracle(model: Path) -> Oracle:
    """Asked before the engine is loaded, so that only one copy of the weights is in memory."""
    with open_checkpoint(model) as checkpoint:
        tokenizer, eos = checkpoint.tokenizer(), checkpoint.config.eos_token_ids
    assert tokenizer is not None
    chats = [tokenizer.encode(tokenizer.chat([{"role": "user", "content": question}])) for question in CHATS]
    prompts = chats + [tokenizer.encode(text) for text in TEXTS]
    text_ids = tokenizer.encode(TEXT)
    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=NEW_TOKENS[model.stem], eos_token_id=list(eos), pad_token_id=eos[0]
    )
    theirs = AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32)
    with torch.inference_mode():
        logprobs = theirs(torch.tensor([text_ids])).logits[0].double().log_softmax(dim=-1)
    continuations = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = theirs.generate(ids, attention_mask=torch.ones_like(ids), generation_config=greedy)
        continuations.append(output[0, len(prompt) :].tolist())
    return Oracle(text_ids, logprobs, prompts, continuations)


@pytest.fixture(scope="module")
def engine(oracle: Oracle, model: Path) -> Engine:
    return Engine.load(str(model), dtype="float32", compute="exact", kv_tokens=4096)


def test_logprobs_equal_transformers(oracle: Oracle, engine: Engine) -> None:
    (score,) = engine.score([oracle.text_ids])
    expected = oracle.logprobs[:-1].gather(1, torch.tensor(oracle.text_ids)[1:, None])[:, 0]
    np.testing.assert_allclose(score.logprobs[1:], expected.numpy(), atol=TOLERANCE, rtol=0)
    top = oracle.logprobs[:-1].topk(5, dim=-1)
    np.testing.assert_allclose(score.top_logprobs[1:], top.values.numpy(), atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(score.top_ids[1:], top.indices.numpy())


def test_greedy_continuations_equal_transformers(oracle: Oracle, engine: Engine, model: Path) -> None:
    sampling = Sampling(temperature=0.0, max_tokens=NEW_TOKENS[model.stem])
    expansions = [Expansion(engine.prefill(prompt), 1, sampling) for prompt in oracle.prompts]
    ours = [children[0].token_ids.tolist() for children in engine.expand(expansions)]
    assert ours == oracle.continuations
    engine.tree.check_integrity()
