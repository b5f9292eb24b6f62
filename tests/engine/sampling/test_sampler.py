"""Every draw against transformers' logits processors on the full vocabulary, with the same noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import Engine, Expansion, InputError, Sampling
from marcot.engine.sampling.branch_key import branch_key
from marcot.engine.sampling.logit_rules import LogitRules, bad_word_ids
from marcot.kernels.reference.philox import gumbel
from support.searches.held_nodes import check_nothing_is_left
from transformers import AutoModelForCausalLM
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
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
    "bias": {"logit_bias": {7: 4.0, 300: 2.5, 12: -1.0}},
    "bias-that-bans": {"logit_bias": dict.fromkeys(range(0, 1003, 5), -100.0), "top_k": 12},
    "allowed": {"allowed_token_ids": tuple(range(1, 1003, 40))},
    "one-allowed": {"allowed_token_ids": (77,), "top_p": 0.9},
    "frequency": {"frequency_penalty": 1.5, "top_k": 9},
    "frequency-and-presence": {"frequency_penalty": 0.5, "presence_penalty": 1.9, "top_p": 0.8, "temperature": 0.6},
    "presence-below-0": {"presence_penalty": -1.1, "top_k": 12},
    "frequency-below-0": {"frequency_penalty": -1.1, "top_k": 12},
    "min-tokens": {"min_tokens": 9, "stop_token_ids": tuple(range(0, 1003, 3)), "top_k": 12},
    "all-rules": {
        "logit_bias": {8: 3.0, 31: -2.0},
        "repetition_penalty": 1.2,
        "frequency_penalty": 0.4,
        "presence_penalty": 0.3,
        "allowed_token_ids": tuple(range(0, 1003, 2)),
        "min_tokens": 5,
        "stop_token_ids": (8, 30, 32),
        "min_p": 0.02,
    },
    "greedy": {"temperature": 0.0},
    "greedy-rules": {"temperature": 0.0, "frequency_penalty": 2.0, "presence_penalty": 2.0, "logit_bias": {5: 6.0}},
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
    "bias",
    "allowed",
    "one-allowed",
    "frequency-and-presence",
    "presence-below-0",
    "frequency-below-0",
    "all-rules",
    "greedy-rules",
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
    """Logits after transformers' processors, in the order of transformers; removed tokens are -inf."""
    steps = LogitsProcessorList()
    if sampling.logit_bias:
        steps.append(
            SequenceBiasLogitsProcessor({(token,): float(bias) for token, bias in dict(sampling.logit_bias).items()})
        )
    if sampling.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    steps.append(lambda ids, scores: by_openai(sampling, path[len(PROMPT) :], scores))
    if sampling.min_tokens:
        ends = list(sampling.stop_token_ids)
        steps.append(MinNewTokensLengthLogitsProcessor(len(PROMPT), sampling.min_tokens, ends, device="cpu"))
    if sampling.temperature > 0:
        steps.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        steps.append(MinPLogitsWarper(sampling.min_p))
    return steps(torch.tensor([path]), logits[None].clone())[0]


def by_openai(sampling: Sampling, drawn: list[int], scores: torch.Tensor) -> torch.Tensor:
    """`mu[j] - c[j] * alpha_frequency - (c[j] > 0) * alpha_presence`, token by token; only some tokens are allowed."""
    scores = scores.clone()
    for token in range(scores.shape[1]):
        count = drawn.count(token)
        if count:
            scores[0, token] -= count * sampling.frequency_penalty + sampling.presence_penalty
        if sampling.allowed_token_ids and token not in sampling.allowed_token_ids:
            scores[0, token] = -torch.inf
    return scores


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
        assert len(child.token_ids) >= chosen.min_tokens


PROCESSED = ("temperature-only", "top-k-top-p-min-p", "wide-top-k-top-p", "penalty-top-p", "all-rules", "greedy-rules")


@pytest.mark.parametrize("name", PROCESSED)
def test_processed_log_probabilities_are_those_of_what_transformers_keeps(
    name: str, folder: Path, oracle: torch.nn.Module
) -> None:
    """The drawn tokens are the same as with raw log-probabilities, alone and in one batch with them."""
    engine = Engine.load(str(folder), kv_tokens=4096)
    node = engine.prefill(PROMPT)
    raw = sampling(name)
    [plain], children = engine.expand(
        [Expansion(node, 1, raw), Expansion(node, 2, replace(raw, logprobs="processed", top_logprobs=150))]
    )
    assert plain.token_ids.tolist() == children[0].token_ids.tolist()
    for child in children:
        path = PROMPT + child.token_ids.tolist()
        with torch.inference_mode():
            logits = oracle(torch.tensor([path])).logits[0]
        for i, token in enumerate(child.token_ids.tolist()):
            at = len(PROMPT) + i
            expected = processed(raw, path[:at], logits[at - 1]).log_softmax(0)
            assert abs(float(child.logprobs[i]) - float(expected[token])) < 1e-3
            best = expected.topk(150).values.numpy()
            np.testing.assert_allclose(child.top_logprobs[i], best, atol=1e-3, rtol=0)
    # A fork of such a branch is drawn from raw candidates again.
    one = Sampling(temperature=0.0, max_tokens=1)
    [again] = engine.expand(children[0].prefix(3), 1, one)
    fresh = Engine.load(str(folder), kv_tokens=4096)
    [other] = fresh.expand(fresh.prefill(PROMPT + children[0].token_ids[:3].tolist()), 1, one)
    assert again.token_ids.tolist() == other.token_ids.tolist()
    np.testing.assert_allclose(again.logprobs, other.logprobs, atol=1e-4)


def test_more_top_log_probabilities_than_candidates(folder: Path, oracle: torch.nn.Module) -> None:
    engine = Engine.load(str(folder), kv_tokens=4096)
    node = engine.prefill(PROMPT)
    few, many = Sampling(max_tokens=6, ignore_eos=True), Sampling(max_tokens=6, ignore_eos=True, top_logprobs=5000)
    [[one], [child]] = engine.expand([Expansion(node, 1, few), Expansion(node, 1, many)])
    assert one.token_ids.tolist() == child.token_ids.tolist()
    assert child.top_ids.shape == (6, 1003)
    np.testing.assert_array_equal(child.confidences, one.confidences)
    with torch.inference_mode():
        logits = oracle(torch.tensor([PROMPT + child.token_ids.tolist()])).logits[0, len(PROMPT) - 1 : -1]
    expected = logits.log_softmax(1).gather(1, torch.from_numpy(child.top_ids))
    np.testing.assert_allclose(child.top_logprobs, expected, atol=1e-4, rtol=0)
    assert (np.diff(child.top_logprobs, axis=1) <= 0).all()


def test_scores_with_more_columns_than_candidates(folder: Path, oracle: torch.nn.Module) -> None:
    engine = Engine.load(str(folder), kv_tokens=4096)
    ids = (PROMPT * 3)[:27]
    [score], [narrow] = engine.score([ids], top_k=800), engine.score([ids], top_k=64)
    with torch.inference_mode():
        expected = oracle(torch.tensor([ids])).logits[0, :-1].log_softmax(1)
    assert score.top_ids.shape == (27, 800)
    np.testing.assert_array_equal(score.top_ids[1:, :64], narrow.top_ids[1:])
    np.testing.assert_allclose(
        score.top_logprobs[1:], expected.gather(1, torch.from_numpy(score.top_ids[1:])), atol=1e-4
    )
    np.testing.assert_allclose(score.top_logprobs[1:], expected.topk(800).values, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def reader(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True)


def test_bad_words_do_not_come(reader: Path) -> None:
    """Banned as by transformers' processor, at the beginning of a text and after a blank."""
    engine = Engine.load(str(reader), kv_tokens=4096)
    oracle = AutoModelForCausalLM.from_pretrained(reader, dtype=torch.float32)
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    node = engine.prefill("So she sold")
    free = Sampling(temperature=1.0, top_k=30, top_p=1.0, max_tokens=40, ignore_eos=True)
    words: tuple[str, ...] = ()
    for _ in range(4):  # bans the text that came last time
        [child] = engine.expand(node, 1, replace(free, bad_words=words))
        pairs = {tokenizer.decode(child.token_ids[at : at + 2].tolist()).strip() for at in range(39)}
        words += tuple(pair for pair in sorted(pairs) if len(pair) > 1 and pair.isascii() and pair not in words)[:3]
    assert len(words) > 6
    spellings = [tokenizer.encode(blank + word) for word in words for blank in ("", " ")]
    [child] = engine.expand(node, 1, replace(free, bad_words=words))
    steps = LogitsProcessorList([NoBadWordsLogitsProcessor(spellings, eos_token_id=None), TopKLogitsWarper(30)])
    path, key = node.path_ids, torch.tensor([branch_key(node.kv.path_hash(), 0, 0)])
    changed = 0
    for token in child.token_ids.tolist():
        with torch.inference_mode():
            logits = oracle(torch.tensor([path])).logits[0, -1:]
        noise = gumbel(key, torch.tensor([len(path)]), torch.arange(logits.shape[1])[None])[0]
        score = steps(torch.tensor([path]), logits.clone())[0] + noise
        assert score[token] > score.max() - 1e-4
        changed += int(TopKLogitsWarper(30)(torch.tensor([path]), logits)[0].add(noise).argmax()) != token
        path = [*path, token]
    assert changed > 0


def test_blanks_before_a_bad_word_do_not_matter(reader: Path) -> None:
    engine = Engine.load(str(reader), kv_tokens=256)
    spellings = bad_word_ids(("she",), engine.tokenizer)
    assert len(spellings) == 2
    assert bad_word_ids((" she", "she", "  she"), engine.tokenizer) == spellings


@pytest.mark.parametrize("length", range(1, 8))
def test_bad_words_that_begin_in_a_prompt_of_any_length(length: int) -> None:
    """A prompt that is shorter than the longest word can still hold the beginning of a shorter one."""
    path = [1, 3, 2, 3, 2, 3, 1][:length]
    words = [(9,), (1, 10), (2, 3, 11), (3, 2, 3, 12), (1, 3, 2, 3, 2, 13)]
    logits = np.linspace(1, 2, 20, dtype=np.float32)
    rules = LogitRules.of(Sampling(bad_words=("any",)), path, (), words)
    assert rules is not None
    oracle = NoBadWordsLogitsProcessor([list(word) for word in words], eos_token_id=None)
    for drawn in ([], [1], [2, 3]):
        rules.take(drawn)
        path = [*path, *drawn]
        expected = oracle(torch.tensor([path]), torch.from_numpy(logits[None].copy()))[0].numpy()
        np.testing.assert_array_equal(rules.applied(np.arange(20), logits), expected)


def test_stop_strings_wait_for_min_tokens(reader: Path) -> None:
    engine = Engine.load(str(reader), kv_tokens=4096)
    tokenizer = engine.tokenizer
    assert tokenizer is not None
    node = engine.prefill("So she sold")
    free = Sampling(temperature=1.0, max_tokens=120, ignore_eos=True)
    children = engine.expand(node, 8, free)
    waited = 0
    for index, child in enumerate(children):
        ids = child.token_ids.tolist()
        counts = [tokenizer.decode(ids[:end]).count("e") for end in range(len(ids) + 1)]
        for least in (0, 1, 20, 60):
            ends = [end for end in range(least + 1, len(ids) + 1) if counts[end] > counts[end - 1]]
            [stopped] = engine.expand(node, 1, replace(free, stop=("e",), min_tokens=least), first=index)
            assert stopped.token_ids.tolist() == ids[: ends[0] if ends else None]
            assert stopped.text == (tokenizer.decode(ids[: ends[0]]).rpartition("e")[0] if ends else child.text)
            waited += bool(ends) and counts[least] > 0
    assert waited > 3


def test_without_a_seed_all_branches_differ(folder: Path) -> None:
    engine = Engine.load(str(folder), kv_tokens=4096)
    node = engine.prefill(PROMPT)
    chosen = Sampling(temperature=2.0, top_k=0, top_p=1.0, max_tokens=12, ignore_eos=True, seed=None)
    children = [child for _ in range(2) for child in engine.expand([Expansion(node, 1, chosen)] * 3)]
    assert len({tuple(child.token_ids.tolist()) for [child] in children}) == 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"logit_bias": {1003: 1.0}}, "logit_bias: token id 1003: the model's vocabulary is 0 to 1002"),
        ({"allowed_token_ids": (5, 2000)}, "allowed_token_ids: token id 2000"),
        ({"bad_words": ("no",)}, "bad_words: this checkpoint has no tokenizer"),
        ({"allowed_token_ids": (5,), "min_tokens": 3, "stop_token_ids": (5,)}, "no token may be drawn after"),
    ],
)
def test_rules_that_fit_no_token_are_refused(folder: Path, fields: dict[str, Any], message: str) -> None:
    engine = Engine.load(str(folder), kv_tokens=4096)
    node = engine.prefill(PROMPT)
    with pytest.raises(InputError, match=message):
        engine.expand([Expansion(node, 2, Sampling()), Expansion(node, 2, Sampling(**fields))])
    node.release()
    check_nothing_is_left(engine)


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
    """The first tokens of 4,000 samples against the model's own probabilities, by a chi-squared test."""
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
        ("top_logprobs", 0, "top_logprobs=0: must be an integer >= 1"),
        ("frequency_penalty", 2.5, "frequency_penalty=2.5: must be from -2 to 2"),
        ("presence_penalty", float("nan"), "presence_penalty=nan: must be from -2 to 2"),
        ("logit_bias", {"5": 1}, "a token of logit_bias='5': must be an integer >= 0"),
        ("logit_bias", {5: float("inf")}, r"logit_bias\[5\]=inf: must be from"),
        ("logit_bias", (5, 1.0), "logit_bias=.*must map token ids to numbers"),
        ("allowed_token_ids", (-1,), "allowed_token_ids=-1"),
        ("bad_words", ("",), "bad_words="),
        ("min_tokens", -1, "min_tokens=-1: must be an integer >= 0"),
        ("logprobs", "both", 'logprobs=\'both\': must be "raw" or "processed"'),
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
