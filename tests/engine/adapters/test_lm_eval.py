"""Our model of the LM evaluation harness against the harness's own `hf` model, on one checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import Engine, InputError, Sampling

lm_eval = pytest.importorskip("lm_eval", reason="needs lm-eval: make test-adapters")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from marcot.engine.adapters.lm_eval import MarcotLM  # noqa: E402

CHOICES = [" four", " five", " a longer continuation, with  spaces ", "\n", " twelve"]
CONTEXTS = ["Two and two is", "What comes next?\nAnswer:", "  x ", "Two and two is"]
TEXTS = ["A text.", "Another one that is rather longer than the first, and goes on " * 9, "你好"]


@pytest.fixture(scope="module")
def path(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True)


@pytest.fixture(scope="module")
def ours(path: Path) -> MarcotLM:
    return MarcotLM(str(path), kv_tokens=4096, max_length=128)


@pytest.fixture(scope="module")
def theirs(path: Path) -> HFLM:
    return HFLM(str(path), device="cpu", dtype="float32", max_length=128, batch_size=3)


def instances(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, each, index) for index, each in enumerate(arguments)]


def test_continuations_are_rated_as_by_transformers(ours: MarcotLM, theirs: HFLM) -> None:
    pairs = [(context, choice) for context in CONTEXTS for choice in CHOICES]
    pairs += [("", "Once"), ("word " * 300, " end")]
    found = ours.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    wanted = theirs.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in wanted], abs=1e-4)


def test_what_greedy_decoding_draws_is_greedy(ours: MarcotLM) -> None:
    wanted = {"max_gen_toks": 6, "until": []}
    [drawn] = ours.generate_until(instances("generate_until", [("Two and two is", wanted)]), True)
    ids = ours.tok_encode("Two and two is")
    [node] = ours.engine.expand(ours.engine.prefill(ids), 1, Sampling(temperature=0.0, max_tokens=6))
    assert drawn == node.text
    [(_, is_greedy)] = ours._loglikelihood_tokens([(None, ids, node.token_ids.tolist())], disable_tqdm=True)
    assert is_greedy


def test_texts_are_rated_window_by_window(ours: MarcotLM, theirs: HFLM) -> None:
    asked = instances("loglikelihood_rolling", [(text,) for text in TEXTS])
    assert ours.loglikelihood_rolling(asked, True) == pytest.approx(theirs.loglikelihood_rolling(asked, True), abs=1e-3)


def test_texts_go_on_as_by_transformers(ours: MarcotLM, theirs: HFLM) -> None:
    wishes: list[dict[str, Any]] = [
        {"max_gen_toks": 12, "until": []},
        {"max_gen_toks": 20, "until": ["e", "zz", "q", "\n", "."]},
    ]
    for wish in wishes:
        asked = instances("generate_until", [(context, wish) for context in [*CONTEXTS, "word " * 200]])
        assert ours.generate_until(asked, True) == theirs.generate_until(asked, True)


def test_shared_contexts_are_computed_once(path: Path) -> None:
    engine = Engine.load(str(path), kv_tokens=4096)
    model = MarcotLM(engine)
    context = "A context that several continuations share, " * 3
    model.loglikelihood(instances("loglikelihood", [(context, choice) for choice in CHOICES]), disable_tqdm=True)
    tokens = len(model.tok_encode(context.rstrip()))
    assert engine.usage.prefill_tokens < 2 * tokens
    engine.tree.check_integrity()


def test_a_task_of_the_harness_has_the_same_accuracy(ours: MarcotLM, theirs: HFLM, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text("".join(f'{{"q": "{n} + 1 is", "a": {n % 3}}}\n' for n in range(12)))
    task = {
        "task": "sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "q.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_target": "a",
        "doc_to_choice": ["one", "two", "three"],
    }
    ours_found, theirs_found = (
        lm_eval.simple_evaluate(model, tasks=[task], verbosity="ERROR", bootstrap_iters=0, cache_requests=False)
        for model in (ours, theirs)
    )
    assert ours_found["results"]["sums"]["acc,none"] == theirs_found["results"]["sums"]["acc,none"]


def test_unsupported_options_are_refused(ours: MarcotLM) -> None:
    for wish, message in (
        ({"max_gen_toks": 4, "num_beams": 3}, "num_beams: not supported by marcot"),
        ({"max_gen_toks": 4, "typical_p": 0.5}, "typical_p: not supported by marcot"),
        ({"max_gen_toks": 128}, "leaves no room in a context of 128"),
    ):
        with pytest.raises(InputError, match=message):
            ours.generate_until(instances("generate_until", [("One", wish)]), True)
    with pytest.raises(InputError, match="is longer than 128"):
        ours.loglikelihood(instances("loglikelihood", [("One", " word" * 400)]), disable_tqdm=True)
