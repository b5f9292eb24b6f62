"""LLM Reasoners on our model and on transformers: the same numbers, and the same searches at temperature 0."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marcot.engine import Engine, EngineBusyError, InputError
from marcot.engine.serving.blocking_engine import BlockingEngine
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

reasoners = pytest.importorskip("reasoners", reason="needs llm-reasoners: make test-adapters")

from marcot.engine.adapters.llm_reasoners import ReasonersModel  # noqa: E402

TEXT = "Natalia sold 48 clips in April."


class TransformersModel(reasoners.LanguageModel):
    """The same interface in plain transformers, like the library's own `HFModel`."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_pretrained(path)

    def _logits(self, text: str) -> torch.Tensor:
        with torch.no_grad():
            return self.model(self.tokenizer(text, return_tensors="pt").input_ids).logits[0]

    def generate(self, inputs: list[str], max_new_tokens: int = 8, eos_token_id: Any = None, **_: Any) -> Any:
        ends = [2] if eos_token_id is None else [2, self.tokenizer.encode(eos_token_id)[-1]]
        texts = []
        for text in inputs:
            ids = self.tokenizer(text, return_tensors="pt").input_ids
            drawn = self.model.generate(
                ids, max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=ends, pad_token_id=0
            )
            texts.append(self.tokenizer.decode(drawn[0, ids.shape[1] :], skip_special_tokens=True))
        return reasoners.GenerateOutput(texts)

    def get_next_token_logits(self, prompt: Any, candidates: Any, postprocess: Any = None, **_: Any) -> Any:
        tokens = [self.tokenizer.encode(each)[0] for each in candidates]
        return [self._logits(prompt)[-1][tokens].numpy()]

    def get_loglikelihood(self, prefix: str, contents: list[str], **_: Any) -> Any:
        begin = len(self.tokenizer.encode(prefix))
        found = []
        for text in contents:
            ids = torch.tensor(self.tokenizer.encode(text))
            logprobs = self._logits(text)[begin - 1 : -1].log_softmax(-1)
            found.append(float(logprobs.gather(-1, ids[begin:, None]).sum()))
        return np.array(found, np.float32)


@pytest.fixture(scope="module")
def path(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True)


@pytest.fixture(scope="module")
def ours(path: Path) -> ReasonersModel:
    return ReasonersModel(str(path), kv_tokens=8192)


@pytest.fixture(scope="module")
def theirs(path: Path) -> TransformersModel:
    return TransformersModel(path)


def test_greedy_texts_are_those_of_transformers(ours: ReasonersModel, theirs: TransformersModel) -> None:
    texts = [TEXT, "So she", TEXT + " And"]
    expected = theirs.generate(texts, max_new_tokens=12).text
    assert ours.generate(texts, max_new_tokens=12).text == expected
    shown = ours.generate(texts, max_new_tokens=12, hide_input=False, temperature=0.0, do_sample=True)
    assert shown.text == [text + more for text, more in zip(texts, expected, strict=True)]
    end = ours.engine.tokenizer.decode(ours.engine.tokenizer.encode(TEXT + expected[0])[-3:-2])
    for model in (ours, theirs):
        assert model.generate(texts, max_new_tokens=12, eos_token_id=end).text == (
            theirs.generate(texts, max_new_tokens=12, eos_token_id=end).text
        )


def test_lengths_are_limited(ours: ReasonersModel) -> None:
    tokens = len(ours.engine.tokenizer.encode(TEXT))

    def drawn(**options: Any) -> int:
        return len(ours.generate([TEXT], output_log_probs=True, **options).log_prob[0])

    assert drawn(max_new_tokens=5) == 5
    assert drawn(max_length=tokens + 3) == 3
    assert drawn(max_length=tokens + 3, max_new_tokens=6) == 6


def test_samples_differ_and_have_log_probabilities(ours: ReasonersModel, theirs: TransformersModel, path: Path) -> None:
    found = ours.generate(
        [TEXT, "So", TEXT], do_sample=True, num_return_sequences=2, max_new_tokens=6, output_log_probs=True
    )
    again = ours.generate([TEXT], do_sample=True, max_new_tokens=6)
    assert len(found.text) == len(found.log_prob) == 6
    assert len({*found.text[:2], *found.text[4:], *again.text}) == 5
    other = ReasonersModel(str(path), kv_tokens=8192, seed=9)
    draws = [other.generate([TEXT], do_sample=True, max_new_tokens=6).text for _ in range(2)]
    assert draws[0] != draws[1]


def test_a_call_may_have_more_texts_than_a_server_has_requests(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BlockingEngine.__init__.__kwdefaults__, "max_requests", 1)
    model = ReasonersModel(str(path), kv_tokens=8192)
    assert len(model.generate(["So"] * 8, max_new_tokens=24).text) == 8


def test_logits_are_those_of_transformers(ours: ReasonersModel, theirs: TransformersModel) -> None:
    words = ["A", " clips", "x", "5 and more"]
    [expected] = theirs.get_next_token_logits(TEXT, words)
    [found] = ours.get_next_token_logits(TEXT, words)
    assert found == pytest.approx(expected, abs=1e-4)
    both = ours.get_next_token_logits([TEXT, "So"], [words[:2], words])
    assert [len(each) for each in both] == [2, 4]
    everything = theirs._logits(TEXT)[-1].log_softmax(-1)
    tokens = [ours.engine.tokenizer.encode(word)[0] for word in words]
    [logprobs] = ours.get_next_token_logits(TEXT, words, postprocess="log_softmax")
    assert logprobs == pytest.approx(everything[tokens].numpy(), abs=1e-4)
    [shares] = ours.get_next_token_logits(TEXT, words, postprocess="softmax")
    assert shares == pytest.approx(np.exp(everything[tokens].numpy()), abs=1e-4)


def test_texts_are_rated_as_by_transformers(ours: ReasonersModel, theirs: TransformersModel) -> None:
    contents = [TEXT + more for more in (" So", " She sold half as many in May.", "\n")]
    assert ours.get_loglikelihood(TEXT, contents) == pytest.approx(theirs.get_loglikelihood(TEXT, contents), abs=1e-3)
    assert ours.get_loglikelihood(TEXT, [TEXT])[0] == 0
    for prefix, texts in (("", [TEXT]), ("B", [TEXT]), ("Natalia x", [TEXT])):
        with pytest.raises(InputError, match="every text must begin with it"):
            ours.get_loglikelihood(prefix, texts)


def test_unsupported_options_are_refused(ours: ReasonersModel) -> None:
    with pytest.raises(InputError, match="stop, stopping_criteria"):
        ours.generate([TEXT], stopping_criteria=[print], stop="x")
    with pytest.raises(InputError, match="postprocess='logit'"):
        ours.get_next_token_logits(TEXT, ["a"], postprocess="logit")


class Steps(reasoners.DefaultWorldModel):
    def is_terminal(self, state: list[str]) -> bool:
        return len(state) == 3


class Choices(reasoners.SearchConfig):
    """Greedy continuations of three hints, rewarded by their log-probability, as in RAP."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def _prompt(self, state: list[str]) -> str:
        return f"{self.example}\n" + "".join(f"{step}\n" for step in state)

    def get_actions(self, state: list[str]) -> list[str]:
        hints = ["So", "First", "Then"]
        texts = self.model.generate([self._prompt(state) + hint for hint in hints], max_new_tokens=5).text
        return [hint + text.replace("\n", " ") for hint, text in zip(hints, texts, strict=True)]

    def fast_reward(self, state: list[str], action: str) -> tuple[float, dict[str, float]]:
        prompt = self._prompt(state)
        value = round(float(np.exp(self.model.get_loglikelihood(prompt, [prompt + action])[0] / 40)), 3)
        return value, {"value": value}

    def reward(self, state: list[str], action: str, value: float, **_: Any) -> tuple[float, dict[str, float]]:
        return value, {}


@pytest.mark.parametrize("algorithm", ["MCTS", "BeamSearch", "GreedySearch"])
def test_searches_find_the_same(algorithm: str, ours: ReasonersModel, theirs: TransformersModel) -> None:
    from reasoners import algorithm as algorithms

    options = {
        "MCTS": {"n_iters": 5, "depth_limit": 3, "disable_tqdm": True, "output_trace_in_each_iter": True},
        "BeamSearch": {"beam_size": 2, "max_depth": 3},
        "GreedySearch": {"max_depth": 3},
    }[algorithm]
    traces = []
    for model in (ours, theirs):
        search = getattr(algorithms, algorithm)(**options)
        found = reasoners.Reasoner(Steps(model), Choices(model), search)(TEXT)
        traces.append(found.trace)
    assert traces[0] == traces[1]
    ours.engine.tree.check_integrity()


def test_prefixes_are_computed_once(path: Path) -> None:
    from reasoners.algorithm import MCTS

    model = ReasonersModel(str(path), kv_tokens=8192)
    given = 0
    generate, rate = model.generate, model.get_loglikelihood

    def counted(inputs: list[str], **options: Any) -> Any:
        nonlocal given
        given += sum(len(model.engine.tokenizer.encode(text)) for text in inputs)
        return generate(inputs, **options)

    def rated(prefix: str, contents: list[str], **options: Any) -> Any:
        nonlocal given
        given += sum(len(model.engine.tokenizer.encode(text)) for text in contents)
        return rate(prefix, contents, **options)

    model.generate, model.get_loglikelihood = counted, rated
    search = MCTS(n_iters=4, depth_limit=3, disable_tqdm=True)
    reasoners.Reasoner(Steps(model), Choices(model), search)(TEXT * 4)
    assert model.engine.usage.prefill_tokens < given / 3


def test_a_model_that_is_dropped_gives_its_engine_back(path: Path) -> None:
    engine = Engine.load(path, kv_tokens=2048)
    model = ReasonersModel(engine)
    model.generate([TEXT], max_new_tokens=2)
    with pytest.raises(EngineBusyError):
        engine.prefill(TEXT)
    del model
    gc.collect()
    engine.prefill(TEXT).release()
