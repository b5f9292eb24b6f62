"""Which requests may come in, and how large they may be."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from support.server.live_server import LiveServer

KEY, OTHER = "k-3141592653589793", "k-2718281828459045"


def connect(server: LiveServer, **headers: str) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def guarded(talker: Any) -> Any:
    from marcot.engine import Engine
    from support.server.live_server import live_server

    with live_server(
        Engine.load(talker, kv_tokens=4096), api_keys=(KEY, OTHER), max_body=5000, body_timeout=0.2
    ) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {OTHER}"}, {"x-api-key": KEY}],
    ids=["bearer", "second-key", "x-api-key"],
)
def test_a_key_opens_every_route(guarded: LiveServer, headers: dict[str, str]) -> None:
    with connect(guarded, **headers) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.post("/tokenize", json={"prompt": "x"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer k"}, {"authorization": f"Basic {KEY}"}, {"authorization": KEY}, {"x-api-key": ""}],
    ids=["none", "wrong", "basic", "bare", "empty"],
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json", "/version", "/nothing"])
def test_without_a_key_nothing_is_revealed(guarded: LiveServer, headers: dict[str, str], path: str) -> None:
    with connect(guarded, **headers) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["type"] == "authentication_error"


def test_health_needs_no_key(guarded: LiveServer) -> None:
    with connect(guarded) as client:
        assert client.get("/health").json() == {"status": "ok"}


def test_keys_are_not_logged(guarded: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), connect(guarded, authorization=f"Bearer {KEY}") as client:
        client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1})
        assert KEY not in client.post("/v1/completions", json={"prompt": KEY, "temperature": -1}).text
    ours = [record for record in caplog.records if record.name.startswith(("marcot", "uvicorn", "fastapi"))]
    assert not [record for record in ours if KEY in record.getMessage()]


def test_a_request_has_a_size(guarded: LiveServer) -> None:
    with connect(guarded, authorization=f"Bearer {KEY}") as client:
        assert client.post("/tokenize", json={"prompt": "x" * 4000}).status_code == 200
        assert client.post("/tokenize", json={"prompt": "x" * 6000}).status_code == 413
        parts = (b'{"prompt": "', b"x" * 6000, b'"}')
        answer = client.post("/tokenize", content=iter(parts), headers={"content-type": "application/json"})
        assert answer.status_code == 413


BAD_BODIES = {"announces too much": ("5001\r\n\r\n", 413), "never comes": ("20\r\n\r\n{", 408)}


@pytest.mark.parametrize(("length_and_body", "status"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_is_not_waited_for(guarded: LiveServer, length_and_body: str, status: int) -> None:
    host, port = guarded.url.removeprefix("http://").split(":")
    head = f"POST /tokenize HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {KEY}\r\ncontent-length: "
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall((head + length_and_body).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8000", "[::1]:80"])
def test_names_of_this_machine(server: LiveServer, host: str) -> None:
    with connect(server, host=host) as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "localhost.example.com:80", "[::2]"])
def test_other_names_are_refused(server: LiveServer, host: str) -> None:
    with connect(server, host=host) as client:
        assert client.get("/health").status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"prompt"',
        b'{"prompt": "x", "prompt": "y"}',
        b'{"prompt": "x", "temperature": NaN}',
        b'{"prompt": "x", "temperature": 1e999}',
        b'{"prompt": "x", "max_tokens": 1' + b"0" * 5000 + b"}",
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\xff"}',
        b"[" * 100_000,
        b'{"prompt": ' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"logit_bias": ' + b'{"a":' * 70 + b"1" + b"}" * 71,
    ],
    ids=lambda body: body[:34].decode(errors="replace") or "empty",
)
def test_bodies_that_are_not_requests_are_refused(client: httpx2.Client, body: bytes) -> None:
    answer = client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_only_json_is_read(client: httpx2.Client) -> None:
    body = json.dumps({"prompt": "x"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("/v1/completions", content=body, headers={"content-type": kind})
        assert answer.status_code == 400
        assert "application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/completions", "POST"),
        ("/v1/branches/br-000000000000000000000000", "DELETE, GET"),
        ("/v1/branches/append", "POST"),
        ("/health", "GET"),
    ],
)
def test_other_methods_are_refused_with_those_there_are(client: httpx2.Client, path: str, methods: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    assert answer.json()["error"]["message"] == f"this route takes {methods}"


def test_a_route_that_is_not_there(client: httpx2.Client) -> None:
    answer = client.post("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": "there is no such route: GET /openapi.json lists all routes",
        "type": "not_found_error",
        "param": None,
        "code": 404,
    }


def test_a_server_for_others_answers_to_any_name(start: Callable[..., LiveServer]) -> None:
    with connect(start(host="0.0.0.0"), host="example.com") as client:
        assert client.get("/health").status_code == 200
