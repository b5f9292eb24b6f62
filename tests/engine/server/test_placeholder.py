"""What clients get while a model is being loaded."""

from __future__ import annotations

import socket
import threading

import httpx2
import openai
import pytest
from marcot.engine.server.placeholder import Placeholder
from marcot.engine.server.serve import address_of, listening_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_request_is_refused_and_told_to_come_again(host: str) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with listening_socket(host, 0) as at, Placeholder(at), httpx2.Client(base_url=address_of(at)) as client:
        for answer in (
            client.get("/health"),
            client.post("/v1/completions", json={"prompt": "word " * 100_000}),
            client.delete("/v1/branches/br-1"),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "being loaded" in answer.json()["error"]["message"]


def test_what_is_not_a_request_harms_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with listening_socket("127.0.0.1", 0) as at, Placeholder(at):
        lengths = (b"POST / HTTP/1.1\r\nContent-Length: %s\r\n\r\n" % told for told in (b"-3", b"\xb2", b"9" * 5000))
        for sent in (b"", b"\r\n\r\n", b"GET /" + b"x" * 70_000, *lengths):
            with socket.create_connection(at.getsockname()) as raw:
                raw.sendall(sent)
                raw.shutdown(socket.SHUT_WR)
                raw.recv(4096)
            assert httpx2.get(f"{address_of(at)}/health").status_code == 503
    assert capfd.readouterr().err == ""


def test_a_client_that_retries_reaches_the_server_behind_it() -> None:
    """The next user of the socket accepts what the placeholder has not."""
    with listening_socket("127.0.0.1", 0) as at:
        with Placeholder(at), pytest.raises(openai.InternalServerError, match="being loaded"):
            openai.OpenAI(base_url=address_of(at), api_key="none", max_retries=0).models.list()
        got = []
        reader = threading.Thread(target=lambda: got.append(httpx2.get(address_of(at)).text))
        reader.start()
        connection, _ = at.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
        reader.join()
        assert got == ["here"]
