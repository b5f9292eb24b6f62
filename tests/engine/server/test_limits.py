"""Too many requests, requests that take too long, and clients that disconnect."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from support.server.live_server import LiveServer

LONG: dict[str, Any] = {"prompt": "So", "max_tokens": 1000, "ignore_eos": True, "temperature": 0}


def leave(server: LiveServer, path: str, body: dict[str, Any]) -> None:
    """Send a request, wait until it is running, and disconnect."""
    request = httpx2.Request("POST", server.url + path, json=body)
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + request.read())
        assert server.wait_for(lambda: server.engine.stats().running > 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("path", "body", "samples"),
    [
        ("/v1/completions", LONG, 1),
        ("/v1/completions", LONG | {"prompt": ["So", "He", "She"], "n": 2}, 6),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "ignore_eos": True}, 1),
        ("/inference/v1/generate", {"token_ids": [5], "sampling_params": {"max_tokens": 1000, "ignore_eos": True}}, 1),
    ],
    ids=["completion", "completions", "chat", "tokens"],
)
def test_nothing_is_drawn_for_a_client_that_has_gone(
    server: LiveServer, path: str, body: dict[str, Any], samples: int, stream: bool
) -> None:
    """Each sample would have about 1,000 tokens."""
    before = server.engine.stats().generated_tokens
    leave(server, path, body | {"stream": stream})
    assert server.idle()
    assert server.engine.stats().generated_tokens - before < 900 * samples


def test_a_search_ends_when_its_client_goes(server: LiveServer) -> None:
    parameters = {"rollouts": 1000, "max_rollout_tokens": 900, "vote_margin": 0}
    leave(server, "/v1/search", {"question": "2 + 2?", "parameters": parameters})
    assert server.idle()


def test_branches_of_a_client_that_has_gone_are_not_held(server: LiveServer, client: httpx2.Client) -> None:
    branch = client.post("/v1/branches", json={"prompts": ["So"]}).json()["data"][0]["id"]
    sampling = {"max_tokens": 1000, "ignore_eos": True}
    leave(server, "/v1/branches/extend", {"extensions": [{"branch": branch, "n": 3, "sampling": sampling}]})
    assert server.idle()
    assert client.delete(f"/v1/branches/{branch}").json() == {"released": 1}
    assert 'marcot_branches_held{model_name="tiny"} 0.0' in client.get("/metrics").text


def test_a_request_takes_its_time_and_no_more(start: Callable[..., LiveServer]) -> None:
    server = start(request_timeout=0.1)
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        answer = client.post("/v1/completions", json=LONG)
        assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
        stream = client.post("/v1/completions", json=LONG | {"stream": True}).text
        assert '"code":504' in stream
        assert stream.endswith("data: [DONE]\n\n")
        assert server.idle()
        assert client.post("/v1/completions", json={"prompt": "So", "max_tokens": 1}).status_code == 200


def test_a_full_queue(start: Callable[..., LiveServer]) -> None:
    server = start(max_requests=4)
    with httpx2.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(12) as threads:
        sent = [threads.submit(client.post, "/v1/completions", json=LONG | {"max_tokens": 200}) for _ in range(12)]
        answers = [each.result() for each in sent]
        codes = sorted(answer.status_code for answer in answers)
        assert set(codes) == {200, 429}
        assert codes.count(200) >= 4
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
        assert server.idle()
        assert client.post("/v1/completions", json={"prompt": ["x"] * 4, "max_tokens": 1}).status_code == 200


def test_a_request_is_queued_whole_or_not_at_all(start: Callable[..., LiveServer]) -> None:
    server = start(max_requests=4)
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        assert client.post("/v1/completions", json={"prompt": ["x"] * 5, "max_tokens": 1}).status_code == 400
        with client.stream("POST", "/v1/completions", json=LONG | {"stream": True}):
            assert client.post("/v1/completions", json=LONG | {"prompt": ["x"] * 4}).status_code == 429
            assert server.wait_for(lambda: server.engine.stats().requests == 1)
    assert server.idle()


@pytest.mark.parametrize(
    ("settings", "body", "status"),
    [
        ({"max_choices": 3}, {"n": 4}, 400),
        ({"max_choices": 3}, {"n": 3}, 200),
        ({"max_choices": 3}, {"prompt": ["x", "y"], "n": 2}, 400),
        ({"max_tokens": 5}, {"max_tokens": 6}, 400),
        ({"max_tokens": 5}, {"max_tokens": 5}, 200),
        ({"max_logprobs": 2}, {"logprobs": 3}, 400),
        ({"max_logprobs": 2}, {"prompt_logprobs": 3}, 400),
        ({"max_logprobs": 2}, {"logprobs": 2}, 200),
    ],
    ids=str,
)
def test_limits_of_the_server(
    start: Callable[..., LiveServer], settings: dict[str, Any], body: dict[str, Any], status: int
) -> None:
    server = start(kv_tokens=1024, **settings)
    answer = httpx2.post(f"{server.url}/v1/completions", json={"prompt": "So", "max_tokens": 2} | body)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_a_chats_length_are_limited(start: Callable[..., LiveServer], field: str) -> None:
    lengths = {"max_tokens": 5, "max_completion_tokens": 5, field: 6}
    body = {"messages": [{"role": "user", "content": "Hi"}]} | lengths
    answer = httpx2.post(f"{start(kv_tokens=1024, max_tokens=5).url}/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "So", "ignore_eos": True}),
        ("/inference/v1/generate", {"token_ids": [5], "sampling_params": {"ignore_eos": True}}),
    ],
)
def test_a_request_that_leaves_its_length_open_gets_what_the_server_allows(
    start: Callable[..., LiveServer], path: str, body: dict[str, Any]
) -> None:
    server = start(kv_tokens=1024, max_tokens=5)  # the fields' own default is 16
    assert httpx2.post(server.url + path, json=body).json()["usage"]["completion_tokens"] == 5


def test_a_branch_larger_than_the_cache(start: Callable[..., LiveServer]) -> None:
    server = start(kv_tokens=64)
    answer = httpx2.post(f"{server.url}/v1/completions", json={"prompt": list(range(5, 105)), "max_tokens": 2})
    assert (answer.status_code, "KV pages" in answer.text) == (400, True)
    assert httpx2.post(f"{server.url}/v1/completions", json={"prompt": [5, 6], "max_tokens": 2}).status_code == 200


def test_many_clients_get_what_each_would_get_alone(server: LiveServer, client: httpx2.Client) -> None:
    bodies = [{"prompt": f"{number} clips", "max_tokens": 20, "seed": number, "n": 2} for number in range(24)]

    def texts(body: dict[str, Any]) -> list[str]:
        return [choice["text"] for choice in client.post("/v1/completions", json=body).json()["choices"]]

    with ThreadPoolExecutor(24) as threads:
        together = list(threads.map(texts, bodies))
    assert together == [texts(body) for body in bodies]
