"""What is said about a request with an invalid field: which one, and what it must be."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
PROMPT = {"prompt": "x"}
BODY = "the body must be a JSON object, sent with Content-Type: application/json"


@pytest.mark.parametrize(
    ("path", "body", "param", "message"),
    [
        (COMPLETIONS, [], None, BODY),
        (COMPLETIONS, {}, "prompt", "prompt: is missing"),
        (COMPLETIONS, {"prompt": 5}, "prompt", "prompt: must be a valid string or a valid list"),
        (COMPLETIONS, {"prompt": []}, "prompt", "prompt: must have at least 1 item"),
        (COMPLETIONS, {"prompt": [[5], ["a"]]}, "prompt.1.0", "prompt.1.0: must be a valid integer"),
        (COMPLETIONS, PROMPT | {"stop": ["a", 5]}, "stop.1", "stop.1: must be a valid string"),
        (COMPLETIONS, PROMPT | {"top_p": 2}, "top_p", "top_p: must be less than or equal to 1"),
        (COMPLETIONS, PROMPT | {"stream_options": 5}, "stream_options", "stream_options: must be a JSON object"),
        (
            COMPLETIONS,
            PROMPT | {"temprature": 1},
            "temprature",
            "temprature: there is no such field; GET /openapi.json lists all fields",
        ),
        (COMPLETIONS, PROMPT | {"<script>": 1}, None, "there is no such field; GET /openapi.json lists all fields"),
        (
            COMPLETIONS,
            PROMPT | {"request_id": "a b"},
            "request_id",
            "request_id: must be 1 to 128 letters, digits, dots, colons, hyphens and underscores",
        ),
        (
            COMPLETIONS,
            PROMPT | {"truncate_prompt_tokens": 0},
            "truncate_prompt_tokens",
            "truncate_prompt_tokens: must be at least 1, or -1",
        ),
        (COMPLETIONS, PROMPT | {"n": 2000}, "n", "n: 2000 samples are more than 1024: send fewer at a time"),
        (CHAT, {"messages": [5]}, "messages.0", "messages.0: must be a JSON object"),
        (
            CHAT,
            {"messages": [{"role": "tool", "content": "3"}]},
            "messages.0.role",
            "messages.0.role: must be 'system', 'developer', 'user' or 'assistant'",
        ),
        ("/tokenize", {"messages": 5}, "messages", "messages: must be a valid list"),
        ("/tokenize", {"prompt": 5}, "prompt", "prompt: must be a valid string"),
        (
            "/generative_scoring",
            {"query": 5, "items": ["a"], "label_token_ids": [5]},
            "query",
            "query: must be a valid string or a valid list",
        ),
        (
            "/v1/branches/extend",
            {"extensions": [{"branch": "first"}]},
            "extensions.0.branch",
            "extensions.0.branch: must be the id of a branch, as POST /v1/branches returns it",
        ),
        (
            "/v1/search",
            {"question": "x", "parameters": {"action": "os:getcwd"}},
            "parameters.action",
            "parameters.action: must be step, token, marco-v2, mini-step-N or uncertain-N",
        ),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict | list) else "",
)
def test_a_refusal_says_which_field_and_what_it_must_be(
    client: httpx2.Client, path: str, body: Any, param: str | None, message: str
) -> None:
    answer = client.post(path, json=body)
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": 400}
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_parameter_of_another_strategy_is_refused_with_those_there_are(client: httpx2.Client) -> None:
    answer = client.post("/v1/search", json={"question": "x", "strategy": "beam", "parameters": {"width": 3}})
    message = answer.json()["error"]["message"]
    assert message.startswith("parameters: strategy beam has no width; it has action, ")
    assert "beams" in message


@pytest.mark.parametrize(
    "fields",
    [{"n": True}, {"n": "2"}, {"n": 1.5}, {"temperature": "1"}, {"stream": "true"}, {"stream": 1}, {"echo": "no"}],
    ids=str,
)
def test_values_of_other_types_are_not_converted(client: httpx2.Client, fields: dict[str, Any]) -> None:
    answer = client.post(COMPLETIONS, json=PROMPT | fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(fields)))


def test_a_number_without_a_fraction_is_an_integer(client: httpx2.Client) -> None:
    answer = client.post(COMPLETIONS, json=PROMPT | {"n": 2.0, "max_tokens": 3.0, "temperature": 1})
    assert answer.json()["usage"]["completion_tokens"] == 6, answer.text
