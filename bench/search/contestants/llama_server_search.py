"""A `llama-server` program over HTTP, with its prompt caching, as search tools use it.

The user provides the command, flags included, in the environment variable `LLAMA_SERVER`.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from ...peers.peer import CONFIDENCE_K, TOP_K
from ..schedule import Replay, Schedule, Start
from .searcher import Delivered, Searcher, Tally

SERVER_VARIABLE = "LLAMA_SERVER"
"""Environment variable with the command of a llama-server program."""

_START_S = 120.0
"""The longest that the server may take to load the model."""

_ANSWER_S = 1200.0
"""The longest that one answer may take; seconds are usual."""

_MARGIN = 64
"""Tokens of a slot's context beyond the longest chain."""


class LlamaServerSearch(Searcher):
    """llama-server. Every branch is a request with the token ids of its prefix; requests of all questions overlap.

    The server has a slot for each branch that can be in flight, and gives a request to the slot that has most of its
    prefix. The client draws nothing: it asks for the five most probable tokens of each position.
    """

    def __init__(self, model: Path, threads: int) -> None:
        self._command = [*shlex.split(os.environ[SERVER_VARIABLE]), "-m", str(model)]
        self._command += ["-t", str(threads), "-tb", str(threads), "--no-warmup"]
        self._server: subprocess.Popen[bytes] | None = None

    def prepare(self, schedules: Sequence[Schedule]) -> None:
        self.close()
        self._schedules = schedules
        self._slots = sum(max(len(wave) for wave in schedule.waves) for schedule in schedules)
        longest = max(
            len(schedule.prompt) + branch.kept + branch.tokens for schedule in schedules for branch in schedule.branches
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        size = self._slots * (longest + _MARGIN)
        arguments = ["--host", "127.0.0.1", "--port", str(self._port), "-np", str(self._slots), "-c", str(size)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the server)
        self._server = subprocess.Popen([*self._command, *arguments], stdout=self._log, stderr=subprocess.STDOUT)
        self._wait_for_start()

    def search(self) -> Delivered:
        tally, replay = Tally(), Replay(self._schedules)
        with ThreadPoolExecutor(self._slots) as clients:
            running: dict[Future[dict[str, Any]], Start] = {}

            def begin(starts: Sequence[Start]) -> None:
                for start in starts:
                    running[clients.submit(self._completion, start.prefix, start.branch.tokens)] = start

            begin(replay.begin())
            while running:
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    start, answer = running.pop(done), done.result()
                    # The server gives no table for a token that ends inside a character, and goes on at the end until
                    # a character is complete.
                    tokens = answer["tokens"][: start.branch.tokens]
                    tables = answer["completion_probabilities"][: len(tokens)]
                    tally.add([_confidence(token) for token in tables])
                    tally.add_bare(len(tokens) - len(tables))
                    begin(replay.finish(start, tokens))
        return tally.delivered()

    def _completion(self, prompt: list[int], tokens: int) -> dict[str, Any]:
        body = {
            "prompt": prompt,
            "n_predict": tokens,
            "ignore_eos": True,
            "cache_prompt": True,
            "return_tokens": True,
            "n_probs": CONFIDENCE_K,
            "samplers": ["top_k", "temperature"],
            "top_k": TOP_K,
            "temperature": 1.0,
        }
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_S)) as connection:
            connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"llama-server: {answer.status} {content[:500]!r}")
        return json.loads(content)  # type: ignore[no-any-return]

    def _wait_for_start(self) -> None:
        assert self._server is not None
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._server.poll() is None:
            with suppress(OSError):
                connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.1)
        self._log.seek(0)
        raise RuntimeError(f"llama-server does not start:\n{self._log.read()[-2000:].decode(errors='replace')}")

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            self._log.close()
            self._server = None


def _confidence(token: dict[str, Any]) -> float:
    """Return the confidence of one token of an answer."""
    best = sum(math.exp(each["logprob"]) for each in token["top_logprobs"])
    return math.exp(token["logprob"]) / best
