"""search-and-learn's own best-of-n, beam search and DVTS give the same on our vLLM adapter as on transformers.

SEARCH_AND_LEARN must name a checkout of https://github.com/huggingface/search-and-learn.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from marcot.engine.adapters.vllm import LLM, CompletionOutput, RequestOutput, SamplingParams, register
from transformers import AutoModelForCausalLM

CHECKOUT = os.environ.get("SEARCH_AND_LEARN")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CHECKOUT, reason="needs SEARCH_AND_LEARN, a checkout: docs/integrations/vllm.md"),
]
pytest.importorskip("latex2sympy2", reason="needs search-and-learn's requirements: docs/integrations/vllm.md")

MOST_TOKENS = 48
"""Limit per call; DVTS asks for 2,048 tokens, whatever its configuration says."""

PROBLEMS = ["What is 17 + 25?", "Tom has 3 boxes of 12 pencils. He gives 7 away. How many pencils are left?"]


class Capped:
    """An `LLM` whose calls draw at most `MOST_TOKENS`; counts the prompt tokens that it is given."""

    def __init__(self, llm: Any) -> None:
        self.get_tokenizer = llm.get_tokenizer
        self.given = 0
        self._generate = llm.generate

    def generate(
        self, prompts: Sequence[str], sampling_params: SamplingParams, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        params = sampling_params.clone()
        params.max_tokens = min(params.max_tokens, MOST_TOKENS)
        outputs = self._generate(prompts, params, use_tqdm=use_tqdm)
        self.given += sum(len(output.prompt_token_ids) for output in outputs)
        return outputs


class GreedyTransformers:
    """The methods of `LLM` that search-and-learn calls, with transformers' own greedy decoding."""

    def __init__(self, path: Path, tokenizer: Any) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
        self._tokenizer = tokenizer
        self._sample = cache(self._drawn)

    def get_tokenizer(self) -> Any:
        return self._tokenizer

    def generate(
        self, prompts: Sequence[str], sampling_params: SamplingParams, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        assert sampling_params.temperature == 0
        stop = tuple(sampling_params.stop or ())
        samples = [self._sample(prompt, stop, sampling_params.max_tokens) for prompt in prompts]
        return [RequestOutput("", prompt, [], None, [sample]) for prompt, sample in zip(prompts, samples, strict=True)]

    def _drawn(self, prompt: str, stop: tuple[str, ...], max_tokens: int) -> CompletionOutput:
        given = self._tokenizer(prompt, return_tensors="pt").input_ids
        stopping = {"stop_strings": list(stop), "tokenizer": self._tokenizer} if stop else {}
        whole = self._model.generate(given, max_new_tokens=max_tokens, do_sample=False, pad_token_id=0, **stopping)
        ids = whole[0, given.shape[1] :].tolist()
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        ended = next((each for each in stop if each in text), None)
        if ended is not None:
            text = text[: text.index(ended) + len(ended)]
        return CompletionOutput(0, text, ids, None, None, None, ended)


class Judge:
    """A process reward model: the score of a step is a hash of the text up to its end."""

    def score(self, questions: Sequence[str], outputs: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        return [
            [self._scores(question, text) for text in texts] for question, texts in zip(questions, outputs, strict=True)
        ]

    def _scores(self, question: str, text: str) -> list[float]:
        steps = text.split("\n\n")
        chains = ["\n\n".join(steps[: end + 1]) for end in range(len(steps))]
        return [zlib.crc32((question + chain).encode()) / 2**32 for chain in chains]


@pytest.fixture(scope="module")
def search() -> Iterator[Any]:
    """The package `sal.search`, importing our adapter as vllm."""
    register()
    sys.path.insert(0, str(Path(str(CHECKOUT)) / "src"))
    import sal.search

    yield sal.search
    for name in [each for each in sys.modules if each.partition(".")[0] in ("sal", "vllm")]:
        del sys.modules[name]
    sys.path.pop(0)


@pytest.fixture(scope="module")
def path(real_model: Callable[[str], Path]) -> Path:
    return real_model("smollm2-135m")


@pytest.fixture(scope="module")
def ours(path: Path) -> LLM:
    return LLM(str(path), compute="exact", kv_tokens=16_384)


@pytest.fixture(scope="module")
def theirs(path: Path, ours: LLM) -> GreedyTransformers:
    return GreedyTransformers(path, ours.get_tokenizer())


@pytest.mark.parametrize(
    ("approach", "options"),
    [
        ("best_of_n", {}),
        ("beam_search", {"search_batch_size": 1, "beam_width": 2, "num_iterations": 3}),
        ("beam_search", {"search_batch_size": 1, "beam_width": 2, "num_iterations": 3, "lookahead": 1}),
        ("dvts", {"beam_width": 2, "num_iterations": 3}),
    ],
    ids=["best-of-n", "beam", "beam-lookahead", "dvts"],
)
def test_results_equal_those_with_transformers(
    approach: str, options: dict[str, Any], search: Any, ours: LLM, theirs: GreedyTransformers
) -> None:
    from sal.config import Config

    config = Config(
        approach=approach, n=4, temperature=0.0, max_tokens=MOST_TOKENS, custom_chat_template=None,
        system_prompt="Answer in steps, with an empty line after each.", **options,
    )  # fmt: skip

    def found(llm: Any) -> list[dict[str, Any]]:
        grow, capped = getattr(search, approach), Capped(llm)
        return [dict(grow({"problem": [each]}, config, capped, Judge())) for each in PROBLEMS]

    assert found(ours) == found(theirs)


def test_prefixes_are_computed_once(search: Any, path: Path) -> None:
    from sal.config import Config

    llm = LLM(str(path), kv_tokens=16_384)
    capped = Capped(llm)
    config = Config(
        approach="beam_search", n=4, temperature=0.8, max_tokens=MOST_TOKENS, custom_chat_template=None,
        search_batch_size=1, beam_width=2, num_iterations=4,
    )  # fmt: skip
    search.beam_search({"problem": PROBLEMS[:1]}, config, capped, Judge())
    assert llm.engine.usage.prefill_tokens < capped.given / 4
    llm.engine.tree.check_integrity()
