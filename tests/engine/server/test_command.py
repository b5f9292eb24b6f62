"""`marcot serve`: how it starts, what it refuses, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from marcot.engine.cli import main
from marcot.engine.cli.options.server import KEY_VARIABLE, ServerOptions
from marcot.engine.errors import InputError
from marcot.engine.server.serve import listening_socket
from support.programs.interruptible import start

_KEY = "k-3141592653589793"


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running program on a free port, and its address."""
    words = [sys.executable, "-m", "marcot", "serve", "-m", str(model), "--port", "0", "--threads", "1", *options]
    with start(words) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            told = re.fullmatch(r"serving (\S+) at (http://127\.0\.0\.1:\d+)/v1\n", line)
            assert told, line
            yield process, told[2]
        finally:
            process.kill()


def test_it_answers_what_is_open_before_it_ends(talker: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"\n{_KEY}\n")
    with serving(talker, "--api-key-file", str(tmp_path / "keys"), "--served-model-name", "small") as (process, url):
        client = httpx2.Client(base_url=url, headers={"authorization": f"Bearer {_KEY}"}, timeout=60)
        with client, ThreadPoolExecutor() as threads:
            assert httpx2.get(f"{url}/v1/models").status_code == 401
            assert client.get("/v1/models").json()["data"][0]["id"] == "small"
            body = {"prompt": "So", "max_tokens": 500, "ignore_eos": True, "stream": True}
            with client.stream("POST", "/v1/completions", json=body) as stream:
                lines = stream.iter_lines()
                next(lines)
                process.send_signal(signal.SIGTERM)
                rest = threads.submit(list, lines).result()
            assert rest[-2] == "data: [DONE]"
            assert '"finish_reason":"length"' in rest[-4]
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert _KEY not in process.stderr.read()


@pytest.mark.parametrize(
    ("signals", "options"),
    [([signal.SIGHUP], ["--drain-timeout", "0"]), ([signal.SIGINT, signal.SIGINT], [])],
    ids=["no time is left", "another Ctrl-C"],
)
def test_it_cuts_off_what_is_open_without_a_traceback(talker: Path, signals: list[int], options: list[str]) -> None:
    with serving(talker, *options) as (process, url), httpx2.Client(base_url=url, timeout=60) as client:
        assert process.stderr is not None
        stalled = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)
        stalled.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        body = {"prompt": "So", "n": 512, "max_tokens": 900, "ignore_eos": True, "stream": True}
        with client.stream("POST", "/v1/completions", json=body) as stream, stalled:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signals[0])
            told = process.stderr.readline()
            for number in signals[1:]:
                process.send_signal(number)
            rest = [line for line in lines if line]
            assert rest[-1] == "data: [DONE]"
            assert '"finish_reason":"abort"' in rest[-2]
            assert not stalled.recv(1)
        assert "for the 2 open requests" in told
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_others_are_let_in_by_a_key_or_an_option_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.com"):
        with pytest.raises(InputError, match="--api-key-file"):
            ServerOptions(host=host).settings("m")
        assert ServerOptions(host=host, no_api_key=True).settings("m").api_keys == ()
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert ServerOptions(host=host).settings("m").local
    monkeypatch.setenv(KEY_VARIABLE, _KEY)
    assert ServerOptions(host="0.0.0.0").settings("m").api_keys == (_KEY,)


@pytest.mark.parametrize("content", ["", "\n\n", "two words", "schlüssel", None], ids=repr)
def test_files_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError):
        ServerOptions(api_key_file=file).settings("m")


def test_a_model_without_a_name() -> None:
    with pytest.raises(InputError, match="--served-model-name is empty"):
        ServerOptions(served_model_name=["a", ""]).settings("m")


def test_another_interface_that_there_is_not() -> None:
    with pytest.raises(InputError, match="marco-o1"):
        ServerOptions(compat="ollama").settings("m")


@pytest.mark.parametrize("option", ["request_timeout", "drain_timeout", "lease"])
@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_times_that_are_not_numbers(option: str, seconds: float) -> None:
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')} {seconds}: must be a finite"):
        ServerOptions(**{option: seconds}).settings("m")


def test_a_folder_does_not_show_its_path(talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServerOptions().settings(str(talker)).names == (talker.name,)
    monkeypatch.chdir(talker)
    assert ServerOptions().settings(".").names == (talker.name,)
    assert ServerOptions().settings("Qwen/Qwen2.5-0.5B").names == ("Qwen/Qwen2.5-0.5B",)


def test_an_address_that_is_taken() -> None:
    with listening_socket("127.0.0.1", 0) as taken, pytest.raises(InputError, match="--port"):
        listening_socket("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(InputError, match="--host"):
        listening_socket("192.0.2.1", 0)


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    listening_socket("::1", 0).close()


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("marcot.engine.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr(sys, "argv", ["marcot", "serve", "-m", "m"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "uvicorn, which is not installed: pip install 'marcot[server]'" in capsys.readouterr().err
