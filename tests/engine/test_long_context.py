"""Long inputs: correct numbers at 16,000 tokens, and memory linear in length up to 131,072."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from marcot.engine import Engine
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.slow

CONTEXT = 131_072
LENGTHS = (32_768, 65_536, CONTEXT)
SLACK = 8 * 2**20
"""Bytes that each longer prefill may cost in addition to its K and V: token ids, page ids, what the allocator keeps (1
and 2 MB measured). The scores of one chunk against the whole prefix would grow by 130 and 270 MB.
"""

PREFILL = """
import random, sys
from marcot.engine import Engine

folder, *lengths = sys.argv[1:]
engine = Engine.load(folder, kv_tokens=int(lengths[-1]))
ids = random.Random(0).choices(range(3, engine.config.vocab_size), k=int(lengths[-1]))
for length in map(int, lengths):
    node = engine.prefill(ids[:length])
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(length, int(status["VmHWM"].split()[0]) * 1024, engine.usage.prefill_tokens, engine.usage.recomputed_tokens)
engine.tree.check_integrity()
"""
"""Prints after each length: the length, the peak of resident memory in bytes, tokens computed, tokens recomputed."""


def test_16000_tokens_equal_transformers(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("llama3.2", num_hidden_layers=2, num_attention_heads=4)
    ids = torch.randint(3, 331, (16_000,), generator=torch.Generator().manual_seed(0))
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        logprobs = theirs(ids[None]).logits[0, :-1].log_softmax(dim=-1)
    (score,) = Engine.load(str(folder), kv_tokens=16_384).score([ids.tolist()])
    expected = logprobs.gather(1, ids[1:, None])[:, 0]
    np.testing.assert_allclose(score.logprobs[1:], expected.numpy(), atol=1e-4, rtol=0)
    np.testing.assert_allclose(score.top_logprobs[1:], logprobs.topk(5).values.numpy(), atol=1e-4, rtol=0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of resident memory from /proc")
def test_memory_of_a_prefill_is_linear_in_its_length(tiny_checkpoint: Callable[..., Path]) -> None:
    """Each length continues the one before, so the growth of the peak is the cost of the added tokens."""
    kv_heads, head_dim, fp32 = 1, 32, 4
    folder = tiny_checkpoint(
        "llama3.2", num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=kv_heads, head_dim=head_dim
    )
    command = [sys.executable, "-c", PREFILL, str(folder), *map(str, LENGTHS)]
    # glibc keeps freed blocks, which would hide the growth, so blocks of a MB and more are returned at once.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    rows = np.array([list(map(int, line.split())) for line in printed.splitlines()])
    length, peak, prefilled, recomputed = rows.T
    assert tuple(length) == LENGTHS
    assert (prefilled == length).all()
    assert (recomputed == 0).all()
    kv_growth = np.diff(length) * 2 * kv_heads * head_dim * fp32
    assert kv_growth.sum() <= peak[-1] - peak[0]
    assert (np.diff(peak) <= kv_growth + SLACK).all()
