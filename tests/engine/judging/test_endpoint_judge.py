"""Chains rated by a model on a server, which is a stand-in on this machine."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import numpy as np
import pytest
from marcot.engine.errors import CallableError
from marcot.engine.judging.endpoint_judge import API_KEY, EndpointJudge
from marcot.engine.judging.verdict import verdict_question
from marcot.engine.search import Trace
from marcot.engine.search.answers import extract_answer

NOTHING = np.empty(0, np.float32)
PROBABILITIES = {"Yes": 0.4, " yes": 0.1, "No": 0.2, "Maybe": 0.3}
BUSY = (503, {"error": "busy"})


def chain(text: str) -> Trace:
    return Trace("How many?", None, text, True, NOTHING, NOTHING, NOTHING[:, None], parse=extract_answer)


def answer(probabilities: dict[str, float], shift: float = 0.0) -> tuple[int, Any]:
    top = [{"token": token, "logprob": math.log(value) + shift} for token, value in probabilities.items()]
    return 200, {"choices": [{"logprobs": {"content": [{"token": top[0]["token"], "top_logprobs": top}]}}]}


class Asked(NamedTuple):
    """A request that the server has received."""

    path: str
    key: str | None
    body: dict[str, Any]


class Server(NamedTuple):
    """A server that gives the answers in turn, and its last answer from then on."""

    url: str
    asked: list[Asked]
    answers: list[tuple[int, Any]]

    def judge(self) -> EndpointJudge:
        return EndpointJudge("judge:it", self.url, "a-model", pauses=(0.0, 0.0))


@pytest.fixture
def server() -> Iterator[Server]:
    asked: list[Asked] = []
    answers: list[tuple[int, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(Asked(self.path, self.headers["Authorization"], body))
            status, said = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield Server(f"http://127.0.0.1:{serving.server_address[1]}/v1/", asked, answers)
        serving.shutdown()


def test_the_value_is_the_share_of_yes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, "secret")
    server.answers.append(answer(PROBABILITIES))
    traces = [chain(f"It is {number}.") for number in range(20)]
    assert server.judge().batch(traces) == pytest.approx([0.5 / 0.7] * 20)
    assert {(asked.path, asked.key) for asked in server.asked} == {("/v1/chat/completions", "Bearer secret")}
    asked_for = sorted(asked.body["messages"][0]["content"] for asked in server.asked)
    assert asked_for == sorted(map(verdict_question, traces))
    assert server.asked[0].body["model"] == "a-model"


def test_without_a_key_none_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    server.answers.append(answer({"NO": 1.0}))
    assert server.judge().of(chain("It is 8.")) == 0.0
    assert server.asked[0].key is None


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.answers.extend([BUSY, BUSY, answer(PROBABILITIES)])
    assert server.judge().of(chain("It is 8.")) == pytest.approx(0.5 / 0.7)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("said", "message", "tries"),
    [
        (BUSY, "status 503.*busy", 3),
        ((401, {}), f"status 401: set {API_KEY}", 1),
        ((302, {}), "status 302", 1),
        ((307, {}), "status 307", 1),
        ((200, {"choices": []}), "no log-probabilities", 1),
        ((200, {"choices": [{"logprobs": None}]}), "no log-probabilities", 1),
        (answer({"Yes": 0.5}, shift=1e9), "no log-probabilities", 1),
        (answer({7: 0.5}), "no log-probabilities", 1),  # type: ignore[dict-item]
        (answer({"Maybe": 1.0}), "neither Yes nor No", 1),
    ],
    ids=["busy", "no-key", "found", "moved", "no-choices", "no-logprobs", "huge", "no-text", "another-word"],
)
def test_what_goes_wrong_is_said(server: Server, said: tuple[int, Any], message: str, tries: int) -> None:
    server.answers.append(said)
    with pytest.raises(CallableError, match=f"judge:it: .*{message}"):
        server.judge().of(chain("It is 8."))
    assert [asked.path for asked in server.asked] == ["/v1/chat/completions"] * tries


def test_a_server_that_is_not_there() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as nobody:
        port = nobody.server_address[1]
    judge = EndpointJudge("judge:it", f"http://127.0.0.1:{port}/v1", "a-model", pauses=())
    with pytest.raises(CallableError, match=r"judge:it: .* gives no answer"):
        judge.rate([chain("It is 8.")])


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep requests to this machine from a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
