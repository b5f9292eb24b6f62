"""Every draw against transformers' logits processors on the full vocabulary, with the same noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import Engine, Expansion, InputError, Sampling
from marcot.engine.sampling.branch_key import branch_key
from marcot.kernels.reference.philox import gumbel
from transformers import AutoModelForCausalLM
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31, 7]
TOKENS = 24

SAMPLINGS: dict[str, dict[str, Any]] = {
    "temperature-only": {},
    "hot": {"temperature": 2.5},
    "top-k": {"top_k": 7},
    "top-k-1": {"top_k": 1},
    "top-k-wider-than-the-kernel": {"top_k": 100, "temperature": 3.0},
    "top-k-wider-than-the-vocabulary": {"top_k": 5000},
    "top-p": {"top_p": 0.7},
    "top-p-wider-than-the-kernel": {"top_p": 0.999, "temperature": 4.0},
    "top-p-tiny": {"top_p": 0.001},
    "min-p": {"min_p": 0.2},
    "min-p-wider-than-the-kernel": {"min_p": 0.0001, "temperature": 3.0},
    "top-k-top-p": {"top_k": 20, "top_p": 0.8},
    "top-k-top-p-min-p": {"top_k": 20, "top_p": 0.9, "min_p": 0.1, "temperature": 1.7},
    "top-p-min-p": {"top_p": 0.9, "min_p": 0.05, "temperature": 0.7},
    "wide-top-k-top-p": {"top_k": 90, "top_p": 0.9, "temperature": 3.0},
    "wide-top-k-min-p": {"top_k": 90, "min_p": 0.3},
    "penalty": {"repetition_penalty": 1.3},
    "penalty-top-k": {"repetition_penalty": 1.3, "top_k": 12},
    "penalty-top-p": {"repetition_penalty": 1.8, "top_p": 0.9},
    "penalty-below-1": {"repetition_penalty": 0.7, "top_k": 12},
    "greedy": {"temperature": 0.0},
    "greedy-penalty": {"temperature": 0.0, "repetition_penalty": 1.5},
}
NEEDS_FULL_ROWS = {
    "top-k-wider-than-the-kernel",
    "top-k-wider-than-the-vocabulary",
    "top-p-wider-than-the-kernel",
    "min-p-wider-than-the-kernel",
    "wide-top-k-top-p",
    "penalty",
    "penalty-top-p",
    "penalty-below-1",
}


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", vocab_size=1003)


@pytest.fixture(scope="module")
def oracle(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def sampling(name: str) -> Sampling:
    fields = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | SAMPLINGS[name]
    return Sampling(max_tokens=TOKENS, ignore_eos=True, seed=-5, **fields)


def processed(sampling: Sampling, path: list[int], logits: torch.Tensor) -> torch.Tensor:
    """Logits after transformers' processors, in its own order; removed tokens are -inf."""
    steps = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature > 0:
        steps.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        steps.append(MinPLogitsWarper(sampling.min_p))
    return steps(torch.tensor([path]), logits[None].clone())[0]


@pytest.mark.parametrize("name", SAMPLINGS)
def test_draws_equal_gumbel_max_over_what_transformers_keeps(name: str, folder: Path, oracle: torch.nn.Module) -> None:
    engine = Engine.load(str(folder), kv_tokens=4096)
    node = engine.prefill(PROMPT)
    chosen = sampling(name)
    children = engine.expand(node, 3, chosen)
    assert (engine.usage.full_rows > 0) == (name in NEEDS_FULL_ROWS)
    for index, child in enumerate(children):
        path = PROMPT + child.token_ids.tolist()
        with torch.inference_mode():
            logits = oracle(torch.tensor([path])).logits[0]
        key = torch.tensor([branch_key(node.kv.path_hash(), chosen.seed, index)])
        for i, token in enumerate(child.token_ids.tolist()):
            at = len(PROMPT) + i
            score = processed(chosen, path[:at], logits[at - 1])
            if chosen.temperature > 0:
                score = score + gumbel(key, torch.tensor([at]), torch.arange(len(score))[None])[0]
            assert score[token] > score.max() - 1e-4, f"token {i} of sample {index}"


def test_mixed_samplings_in_one_batch_change_nothing(folder: Path) -> None:
    together = Engine.load(str(folder), kv_tokens=8192)
    node = together.prefill(PROMPT)
    families = together.expand([Expansion(node, 2, sampling(name)) for name in SAMPLINGS])
    for name, family in zip(SAMPLINGS, families, strict=True):
        alone = Engine.load(str(folder), kv_tokens=1024)
        for one, other in zip(family, alone.expand(alone.prefill(PROMPT), 2, sampling(name)), strict=True):
            assert one.token_ids.tolist() == other.token_ids.tolist()
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4, rtol=0)


def test_frequencies_follow_the_softmax(folder: Path) -> None:
    """First tokens of 4,000 samples, chi-squared against the model's own probabilities."""
    engine = Engine.load(str(folder), kv_tokens=65536)
    node = engine.prefill(PROMPT)
    draws = 4000
    children = engine.expand(node, draws, Sampling(temperature=1.0, top_k=8, top_p=1.0, max_tokens=1, ignore_eos=True))
    (greedy,) = engine.expand(node, 1, Sampling(temperature=0.0, max_tokens=1, top_logprobs=8))
    ids, logprobs = greedy.top_ids[0], greedy.top_logprobs[0]
    expected = np.exp(logprobs) / np.exp(logprobs).sum() * draws
    counts = np.array([sum(int(child.token_ids[0]) == token for child in children) for token in ids])
    assert counts.sum() == draws
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 24.3, "0.1 % of fair samples of 7 degrees of freedom lie above"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", -1.0, "temperature=-1.0: must be a finite number >= 0"),
        ("temperature", float("nan"), "temperature=nan"),
        ("temperature", 1e-310, r"temperature=1e-310: must be 0 \(greedy\) or from 1e-09 to 1e\+09"),
        ("temperature", 1e39, r"temperature=1e\+39: must be 0 \(greedy\) or from"),
        ("top_k", -1, "top_k=-1: must be an integer >= 0"),
        ("top_k", 2**63, r"top_k=9223372036854775808: must be an integer below 2\*\*31"),
        ("top_p", 0.0, r"top_p=0.0: must be in \(0, 1\]"),
        ("top_p", 1.5, "top_p=1.5"),
        ("min_p", -0.1, "min_p=-0.1"),
        ("repetition_penalty", 0.0, "repetition_penalty=0.0"),
        ("repetition_penalty", 5e-324, r"repetition_penalty=5e-324: must be from 1e-09 to 1e\+09"),
        ("max_tokens", 0, "max_tokens=0"),
        ("stop", ("",), "stop="),
        ("top_logprobs", 65, "top_logprobs=65: must be an integer from 1 to 64"),
        ("seed", 2**63, "64-bit"),
    ],
)
def test_sampling_out_of_range_is_refused_by_name(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extreme",
    [{"temperature": 1e-9}, {"temperature": 1e9}, {"repetition_penalty": 1e-9}, {"repetition_penalty": 1e9}],
    ids=str,
)
@pytest.mark.filterwarnings("error")
def test_at_the_ends_of_a_range_all_numbers_are_finite(folder: Path, extreme: dict[str, float]) -> None:
    engine = Engine.load(str(folder), kv_tokens=4096)
    node = engine.prefill(PROMPT)
    for child in engine.expand(node, 4, Sampling(**extreme, max_tokens=5, top_k=0)):
        assert np.isfinite(child.logprobs).all()
        assert np.isfinite(child.confidence)
