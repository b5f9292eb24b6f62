"""The routes that Marco-o1's published clients use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from marcot.engine import Engine, Sampling
from marcot.model import Tokenizer
from support.server.live_server import LiveServer, live_server


@pytest.fixture(scope="module")
def marco(talker: Any) -> Iterator[httpx2.Client]:
    engine = Engine.load(talker, kv_tokens=8192)
    with live_server(engine, compat="marco-o1", max_tokens=40) as server, httpx2.Client(base_url=server.url) as client:
        yield client


def ask(client: httpx2.Client, **fields: Any) -> httpx2.Response:
    """The request that its search client sends."""
    body = {
        "user_question": "How many?",
        "model_output": "So she sold ",
        "end_tokens": "<|im_end|>,</tool_call>",
        "n": 1,
        "temperature": 0.7,
        "max_tokens": 12,
        "use_tools": "{}",
    }
    return client.post("/generate", json=body | fields)


def test_an_answer_goes_on(marco: httpx2.Client, offline: Engine) -> None:
    prompt = offline.tokenizer.decode(offline.chat_ids("How many?"), keep_special=True) + "So she sold "  # type: ignore[union-attr]
    with offline.prefill(prompt) as node:
        [expected] = offline.expand(node, 1, Sampling(temperature=0, max_tokens=12))
    assert ask(marco, temperature=0).json() == {"response": [expected.text]}


def test_exactly_n_texts(marco: httpx2.Client) -> None:
    texts = ask(marco, n=5, temperature=1.5).json()["response"]
    assert len(texts) == 5
    assert len(set(texts)) > 1


def test_a_text_ends_before_an_end_token(marco: httpx2.Client) -> None:
    [whole] = ask(marco, temperature=0).json()["response"]
    end = whole[4]
    [text] = ask(marco, temperature=0, end_tokens=f"zzz,{end}").json()["response"]
    assert text == whole[: whole.index(end)]


def test_special_tokens_of_what_was_written_are_read(marco: httpx2.Client, offline: Engine) -> None:
    output = "72<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
    prompt = offline.tokenizer.decode(offline.chat_ids("How many?"), keep_special=True) + output  # type: ignore[union-attr]
    with offline.prefill(prompt) as node:
        [expected] = offline.expand(node, 1, Sampling(temperature=0, max_tokens=12))
    assert ask(marco, temperature=0, model_output=output).json() == {"response": [expected.text]}


@pytest.mark.parametrize(
    "fields", [{"use_tools": "{"}, {"end_tokens": "a<|im_end|>b"}, {"user_question": "x" * 9000}], ids=str
)
def test_what_fails_is_told_as_its_clients_read_it(marco: httpx2.Client, fields: dict[str, Any]) -> None:
    answer = ask(marco, **fields)
    assert (answer.status_code, list(answer.json())) == (500, ["error"])


def test_tools_are_shown_to_the_template(marco: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, chat = [], Tokenizer.chat

    def noted(tokenizer: Tokenizer, messages: Any, **variables: Any) -> str:
        shown.append(variables["tools"])
        return chat(tokenizer, messages, **variables)

    monkeypatch.setattr(Tokenizer, "chat", noted)
    tools = [{"type": "function", "function": {"name": "f"}}]
    for given in (json.dumps(tools), "{}"):
        assert ask(marco, use_tools=given).status_code == 200
    assert shown == [tools, None]


def test_a_conversation(marco: httpx2.Client, offline: Engine) -> None:
    first = marco.post("/chat/", json={"user_input": "How many?", "history": []}).json()
    with offline.prefill(offline.chat_ids("How many?")) as node:
        [expected] = offline.expand(
            node, 1, Sampling(temperature=0, max_tokens=40, stop="</Output>", include_stop=True)
        )
    assert first["response"] == expected.text
    assert [message["role"] for message in first["history"]] == ["user", "assistant"]
    second = marco.post("/chat/", json={"user_input": "Sure?", "history": first["history"]}).json()
    assert len(second["history"]) == 4


def test_nothing_was_said(marco: httpx2.Client) -> None:
    assert marco.post("/chat/", json={"user_input": "", "history": []}).status_code == 400


def test_a_conversation_in_plain_text(start: Callable[..., LiveServer], marco: httpx2.Client) -> None:
    server = start(compat="marco-o1-stream", max_tokens=40)
    body = {"user_input": "How many?", "history": []}
    answer = httpx2.post(f"{server.url}/chat/", json=body)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == marco.post("/chat/", json=body).json()["response"]


def test_a_conversation_in_plain_text_breaks_off_when_its_time_is_up(start: Callable[..., LiveServer]) -> None:
    server = start(compat="marco-o1-stream", request_timeout=0.1)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.post(f"{server.url}/chat/", json={"user_input": "How many?", "history": []})
    assert server.idle()


def test_without_the_option_the_routes_are_not_there(client: httpx2.Client) -> None:
    assert ask(client).status_code == 404
