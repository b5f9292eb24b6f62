"""Libraries that are pointed at `marcot serve` by its base URL: the examples of docs/integrations/clients.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from marcot.engine import Engine, Sampling
from support.server.live_server import LiveServer, live_server

QUESTION = "Two and two is"
MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def path(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True)


def needs(module: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(module) is None, reason=f"needs {package}: make test-adapters")


@pytest.fixture
def server(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # otherwise it looks up prices on the network
    with live_server(Engine.load(str(path), kv_tokens=8192)) as server:
        yield server
        assert server.idle()
        server.check()


@pytest.fixture(scope="module")
def greedy(path: Path) -> str:
    """The engine's own answer to `MESSAGES`."""
    engine = Engine.load(str(path), kv_tokens=1024)
    [node] = engine.expand(engine.prefill(engine.chat_ids(MESSAGES)), 1, Sampling(temperature=0, max_tokens=8))
    return node.text


@needs("litellm", "litellm")
def test_litellm(server: LiveServer, greedy: str) -> None:
    import litellm

    answer = litellm.completion(
        model="openai/tiny", api_base=f"{server.url}/v1", api_key="none", messages=MESSAGES, n=3, temperature=0,
        max_tokens=8, logprobs=True, top_logprobs=2,
    )  # fmt: skip
    assert [choice.message.content for choice in answer.choices] == [greedy] * 3
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2
    pieces = litellm.completion(
        model="openai/tiny", api_base=f"{server.url}/v1", api_key="none", messages=MESSAGES, temperature=0,
        max_tokens=8, stream=True,
    )  # fmt: skip
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == greedy
    with pytest.raises(litellm.BadRequestError, match="temperature"):
        litellm.completion(
            model="openai/tiny", api_base=f"{server.url}/v1", api_key="none", messages=MESSAGES, temperature=-1
        )


@needs("dspy", "dspy")
def test_dspy(server: LiveServer, greedy: str) -> None:
    import dspy

    lm = dspy.LM("openai/tiny", api_base=f"{server.url}/v1", api_key="none", cache=False, max_tokens=8, temperature=0)
    assert lm(messages=MESSAGES) == [greedy]
    before = server.engine.stats()
    found = lm(messages=MESSAGES, n=4, temperature=0.9)
    after = server.engine.stats()
    assert len(set(found)) == 4
    assert after.cached_tokens - before.cached_tokens == after.prompt_tokens - before.prompt_tokens


@needs("inspect_ai", "inspect-ai")
def test_inspect_ai(server: LiveServer, greedy: str, tmp_path: Path) -> None:
    import inspect_ai
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    model = get_model(
        "openai-api/marcot/tiny", base_url=f"{server.url}/v1", api_key="none",
        config=GenerateConfig(temperature=0, max_tokens=8),
    )  # fmt: skip
    task = inspect_ai.Task(
        dataset=[Sample(input=QUESTION, target=greedy), Sample(input=QUESTION, target="zz")],
        solver=generate(),
        scorer=match(location="exact", ignore_case=False),
    )
    [log] = inspect_ai.eval(task, model=model, log_dir=str(tmp_path), display="none")
    assert log.status == "success", log.error
    assert [sample.output.completion for sample in log.samples] == [greedy] * 2
    assert log.results.scores[0].metrics["accuracy"].value == 0.5
