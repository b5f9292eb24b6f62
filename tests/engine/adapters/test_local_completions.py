"""The harness's client of completion servers, with our server behind it, and its own `hf` model on the checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import Engine
from support.server.live_server import LiveServer, live_server

lm_eval = pytest.importorskip("lm_eval", reason="needs lm-eval: make test-adapters")
pytest.importorskip("tenacity", reason="needs lm-eval's api extra: make test-adapters")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.models.openai_completions import LocalCompletionsAPI  # noqa: E402

CHOICES = [" four", " five", " a longer continuation, with  spaces ", "\n", " twelve"]
CONTEXTS = ["Two and two is", "What comes next?\nAnswer:", "  x ", "Two and two is"]
STOPS = ["e", "zz", "q", "\n", ".", "§", "no such text"]


@pytest.fixture(scope="module")
def path(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True, max_position_embeddings=1024)


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[LiveServer]:
    with live_server(Engine.load(path, kv_tokens=8192), names=("model",)) as running:
        yield running


@pytest.fixture(scope="module")
def ours(server: LiveServer, path: Path) -> LocalCompletionsAPI:
    return LocalCompletionsAPI(
        base_url=f"{server.url}/v1/completions",
        model="model",
        tokenizer=str(path),
        tokenizer_backend="huggingface",
        max_length=256,
        num_concurrent=1,
    )


@pytest.fixture(scope="module")
def theirs(path: Path) -> HFLM:
    return HFLM(str(path), device="cpu", dtype="float32", max_length=256, batch_size=3)


def instances(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, each, index) for index, each in enumerate(arguments)]


def test_continuations_are_rated_as_by_transformers(ours: LocalCompletionsAPI, theirs: HFLM) -> None:
    pairs = [(context, choice) for context in CONTEXTS for choice in CHOICES]
    found = ours.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    wanted = theirs.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in wanted], abs=1e-4)


def test_what_greedy_decoding_draws_is_greedy(ours: LocalCompletionsAPI, theirs: HFLM) -> None:
    """The client compares a token's log-probability with the best one's, which must be the same number."""
    context = theirs.tok_encode("Two and two is")
    [drawn] = theirs._model_generate(
        context=_tensor([context]), max_length=len(context) + 6, stop=[], do_sample=False
    ).tolist()
    request = (None, context, drawn[len(context) :])
    [(value, is_greedy)] = ours._loglikelihood_tokens([request], disable_tqdm=True)
    [(wanted, also)] = theirs._loglikelihood_tokens([request], disable_tqdm=True)
    assert is_greedy
    assert also
    assert value == pytest.approx(wanted, abs=1e-4)


def test_texts_go_on_as_by_transformers(ours: LocalCompletionsAPI, theirs: HFLM) -> None:
    for stops in (["no such text"], STOPS, STOPS[::-1]):
        asked = instances("generate_until", [(context, {"max_gen_toks": 20, "until": stops}) for context in CONTEXTS])
        assert ours.generate_until(asked, True) == theirs.generate_until(asked, True)


def test_texts_are_rated_as_by_transformers(ours: LocalCompletionsAPI, theirs: HFLM) -> None:
    asked = instances("loglikelihood_rolling", [("A text.",), ("Another one that goes on " * 9,)])
    assert ours.loglikelihood_rolling(asked, True) == pytest.approx(theirs.loglikelihood_rolling(asked, True), abs=1e-3)


@pytest.mark.parametrize("kind", ["multiple_choice", "generate_until"])
def test_a_task_of_the_harness_has_the_same_results(
    ours: LocalCompletionsAPI, theirs: HFLM, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "q.jsonl").write_text("".join(f'{{"q": "{n} + 1 is", "a": {n % 3}}}\n' for n in range(12)))
    task: dict[str, Any] = {
        "task": kind,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "q.jsonl")}},
        "test_split": "test",
        "output_type": kind,
        "doc_to_text": "{{q}}",
        "doc_to_target": "a",
    }
    if kind == "multiple_choice":
        task["doc_to_choice"] = ["one", "two", "three"]
    else:
        task["generation_kwargs"] = {"until": STOPS, "max_gen_toks": 8, "do_sample": False}
        task["metric_list"] = [{"metric": "exact_match"}]
    found, wanted = (
        lm_eval.simple_evaluate(
            model, tasks=[task], verbosity="ERROR", bootstrap_iters=0, cache_requests=False, log_samples=True
        )
        for model in (ours, theirs)
    )
    assert found["results"][kind] == pytest.approx(wanted["results"][kind])
    assert _answers(found, kind) == _answers(wanted, kind)


def _answers(found: dict[str, Any], kind: str) -> list[Any]:
    """What was said, or which choices were greedy, document by document."""
    samples = sorted(found["samples"][kind], key=lambda sample: sample["doc_id"])
    if kind == "generate_until":
        return [sample["filtered_resps"] for sample in samples]
    return [[greedy for _, greedy in sample["filtered_resps"]] for sample in samples]


def _tensor(rows: list[list[int]]) -> Any:
    import torch

    return torch.tensor(rows)
