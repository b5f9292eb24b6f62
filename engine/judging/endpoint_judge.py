"""A value that asks a model on an OpenAI-compatible server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import CallableError
from ..search.trace import Trace
from ..search.values.value import Value
from .verdict import share_of_yes, verdict_question

API_KEY: Final = "MARCOT_JUDGE_API_KEY"
"""Environment variable with the server's API key, if it needs one."""

_REQUESTS: Final = 16
"""Maximum requests at a time."""

_TIMEOUT_S: Final = 120.0
"""Seconds to wait for one answer."""

_PAUSES_S: Final = (1.0, 5.0)
"""Seconds to wait before each retry when the server is busy or cannot be reached."""

_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses after which a retry may succeed."""

_TOP: Final = 20
"""Maximum log-probabilities per token that OpenAI's servers return."""


class _NoRedirects(HTTPRedirectHandler):
    """Refuses redirects, because the API key is for this server only."""

    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401
        """Follow none."""


class EndpointJudge(Value):
    """Rates a chain by the probability that a model on a server, asked whether it is right, answers Yes rather than No.

    The model answers with one token, whose most probable alternatives count (`top_logprobs` of chat completions).
    """

    def __init__(self, spec: str, url: str, model: str, pauses: Sequence[float] = _PAUSES_S) -> None:
        """Make a judge; nothing is sent yet.

        Args:
            spec: Its name in options and results.
            url: The server's base URL, such as `http://localhost:8000/v1`.
            model: The model's name on the server.
            pauses: Seconds to wait before each retry of a request that may succeed later.
        """
        self._spec = spec
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._model = model
        self._pauses = pauses
        self._opener = build_opener(_NoRedirects)

    @property
    def name(self) -> str:
        """The spec, `"judge:URL?..."`."""
        return self._spec

    @property
    def slow(self) -> bool:
        """True: other questions go on while the server answers."""
        return True

    def rate(self, traces: Sequence[Trace]) -> list[float]:
        """See `batch`."""
        return self.batch(traces)

    def batch(self, traces: Sequence[Trace]) -> list[float]:
        """The values of chains of any questions, several requests at a time.

        Raises:
            CallableError: The server cannot be reached or refuses, or the model answers neither Yes nor No.
        """
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(self.of, traces))

    def of(self, trace: Trace) -> float:
        """The value of one chain; raises what `batch` raises."""
        answer = self._ask(
            {
                "model": self._model,
                "messages": [{"role": "user", "content": verdict_question(trace)}],
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": True,
                "top_logprobs": _TOP,
            }
        )
        try:
            first = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            value = share_of_yes([(one["token"], float(one["logprob"])) for one in first])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CallableError(
                f"{self._spec}: the server's answer has no log-probabilities: {answer!r:.200}"
            ) from error
        if value is None:
            raise CallableError(f"{self._spec}: the model answers neither Yes nor No: use another one")
        return value

    def _ask(self, body: dict[str, Any]) -> Any:  # noqa: ANN401  (JSON)
        """Post `body` and return the answer; retries if the server is busy."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(API_KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self._url, json.dumps(body).encode(), headers)
        for pause in (*self._pauses, None):
            try:
                with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                    return json.load(response)
            except HTTPError as error:
                said = error.read(200).decode(errors="replace")
                if pause is None or error.code not in _BUSY:
                    advice = f": set {API_KEY}" if error.code in (401, 403) else ""
                    raise CallableError(f"{self._spec}: status {error.code}{advice}: {said}") from error
            except (OSError, HTTPException, ValueError) as error:
                if pause is None:
                    raise CallableError(f"{self._spec}: {self._url} gives no answer: {error}") from error
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")
