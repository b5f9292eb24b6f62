"""Chains of one model rated by another, compared with transformers."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import MCTS, Engine
from marcot.engine.errors import CallableError, InputError
from marcot.engine.judging.judge_spec import parse_judge
from marcot.engine.judging.model_judge import ModelJudge
from marcot.engine.judging.verdict import verdict_question
from marcot.engine.search import Trace
from marcot.engine.search.answers import extract_answer

QUESTIONS = ("How many clips did Natalia sell?", "What is 6 + 2?")
NOTHING = np.empty(0, np.float32)
CLOSE = 1e-5


def chain(question: str, text: str) -> Trace:
    return Trace(question, None, text, True, NOTHING, NOTHING, NOTHING[:, None], parse=extract_answer)


TRACES = [
    chain(QUESTIONS[0], "She sold 48 clips, and 24 more."),
    chain(QUESTIONS[1], "It is 8."),
    chain(QUESTIONS[0], ""),
    chain(QUESTIONS[0], "She sold\n\nno clips."),
]


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2-untied", tokenizer=True, num_hidden_layers=1, seed=5)


@pytest.fixture
def judge_of(folder: Path) -> Iterator[Callable[[str], ModelJudge]]:
    """`judge_of("?mode=yes")`: a new judge."""

    def make(query: str) -> ModelJudge:
        judge = parse_judge(f"judge:{folder}{query}")
        assert isinstance(judge, ModelJudge)
        return judge

    parse_judge.cache_clear()
    yield make
    parse_judge.cache_clear()


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Callable[[list[int]], torch.Tensor]:
    """`oracle(ids)`: log-probabilities of the token after each of `ids`, `[tokens, vocabulary]` fp64."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)

    @torch.inference_mode()
    def logprobs(ids: list[int]) -> torch.Tensor:
        rows: torch.Tensor = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
        return rows

    return logprobs


def test_logprob_is_the_geometric_mean_of_the_chains_tokens(
    judge_of: Callable[[str], ModelJudge], oracle: Callable[[list[int]], torch.Tensor]
) -> None:
    judge = judge_of("")
    values = judge.rate(TRACES)
    engine = judge._loaded()
    assert engine.tokenizer is not None
    for trace, value in zip(TRACES, values, strict=True):
        prompt, ids = engine.chat_ids(trace.question), engine.tokenizer.encode(trace.text)
        rows = oracle([*prompt, *ids])[len(prompt) - 1 : -1]
        exact = math.exp(rows.gather(1, torch.tensor(ids)[:, None]).mean()) if ids else 0.0
        assert value == pytest.approx(exact, abs=CLOSE)
    assert len(set(values)) == len(TRACES)


def test_yes_is_its_probability_among_yes_and_no(
    judge_of: Callable[[str], ModelJudge], oracle: Callable[[list[int]], torch.Tensor]
) -> None:
    judge = judge_of("?mode=yes")
    values = judge.rate(TRACES)
    engine = judge._loaded()
    assert engine.tokenizer is not None
    words = {
        word: {engine.tokenizer.encode(blank + spelt)[0] for blank in ("", " ") for spelt in spellings(word)}
        for word in ("Yes", "No")
    }
    yes, no = (sorted(words[word] - words[other]) for word, other in (("Yes", "No"), ("No", "Yes")))
    for trace, value in zip(TRACES, values, strict=True):
        row = oracle(engine.chat_ids(verdict_question(trace)))[-1].exp()
        assert value == pytest.approx(float(row[yes].sum() / row[[*yes, *no]].sum()), abs=CLOSE)
    assert len(set(values)) == len(TRACES)


def spellings(word: str) -> tuple[str, str, str]:
    return word, word.lower(), word.upper()


@pytest.mark.parametrize("query", ["?kv_tokens=2048", "?mode=yes&kv_tokens=2048"])
def test_a_chain_is_rated_alike_alone_and_its_question_is_computed_once(
    judge_of: Callable[[str], ModelJudge], query: str
) -> None:
    judge = judge_of(query)
    together = judge.batch(TRACES)
    engine = judge._loaded()
    computed = engine.usage.prefill_tokens
    assert engine.kv_pages[1] == 2048 // 16
    parse_judge.cache_clear()
    alone = judge_of(query)
    assert together == [value for trace in TRACES for value in alone.batch([trace])]
    assert engine.tokenizer is not None
    asks = verdict_question if "yes" in query else attrgetter("question")
    prompts = [engine.chat_ids(asks(trace)) for trace in TRACES]
    chains = 0 if "yes" in query else sum(len(engine.tokenizer.encode(trace.text)) for trace in TRACES)
    assert computed == len({tuple(ids[: n + 1]) for ids in prompts for n in range(len(ids))}) + chains
    engine.tree.check_integrity()


def test_a_search_is_guided_by_the_judge_in_another_thread(
    judge_of: Callable[[str], ModelJudge], tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = judge_of("?mode=yes")
    threads = []
    batch = judge.batch

    def noted(traces: Sequence[Trace]) -> list[float]:
        threads.append(threading.current_thread())
        return batch(traces)

    monkeypatch.setattr(judge, "batch", noted)
    engine = Engine.load(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1), kv_tokens=4096)
    strategy = MCTS(rollouts=4, max_rollout_tokens=8, action="mini-step-4", value=judge.name, vote_margin=0)
    for question, result in zip(QUESTIONS, engine.search(QUESTIONS, strategy, concurrency=2), strict=True):
        rated = judge.rate([chain(question, rollout.text) for rollout in result.rollouts])
        assert [rollout.value for rollout in result.rollouts] == rated
    assert threads[0] is not threading.main_thread()


def test_a_model_that_is_not_there_is_said_before_anything_is_drawn(tiny_checkpoint: Callable[..., Path]) -> None:
    engine = Engine.load(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1), kv_tokens=4096)
    strategy = MCTS(rollouts=1, max_rollout_tokens=4, value="judge:/no/such/model")
    with pytest.raises(InputError, match="judge:/no/such/model: "):
        engine.search(QUESTIONS[0], strategy)
    assert engine.usage.generated_tokens == 0


def test_without_memory_the_message_says_what_to_do(
    judge_of: Callable[[str], ModelJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Engine, "load", refuse)
    with pytest.raises(InputError, match=r"second model.*--kv-tokens"):
        judge_of("").prepare()


def test_a_chain_that_does_not_fit_is_an_error_that_names_the_judge(
    judge_of: Callable[[str], ModelJudge], tiny_checkpoint: Callable[..., Path]
) -> None:
    judge = judge_of("?kv_tokens=16")
    engine = Engine.load(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1), kv_tokens=4096)
    with pytest.raises(CallableError, match=r"value 'judge:.*KV pages"):
        engine.search(QUESTIONS[0], MCTS(rollouts=1, max_rollout_tokens=4, value=judge))
