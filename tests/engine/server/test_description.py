"""schemathesis sends requests that the OpenAPI description allows, and others: none of them is a server error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from marcot.engine import Engine
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from support.server.live_server import LiveServer, live_server

_CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
    negative_data_rejection,
    unsupported_method,
]

_EXAMPLES = 4
"""Requests for each route, so that the test takes seconds. With 12 it found nothing more and took minutes."""


@pytest.fixture(scope="module")
def tried(talker: Any) -> Iterator[LiveServer]:
    limits = {"max_tokens": 8, "max_choices": 4, "lease": 1e6}
    with live_server(Engine.load(talker, kv_tokens=8192), **limits) as server:
        yield server


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_described(tried: LiveServer, mode: GenerationMode) -> None:
    description = schemathesis.openapi.from_url(f"{tried.url}/openapi.json")
    operations = [result.ok() for result in description.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.method != "post":
            continue  # a request without a body cannot be wrong

        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(checks=_CHECKS, timeout=60)

        check()


_MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "So", "logprobs": 1, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", {"messages": _MESSAGES, "logprobs": True, "n": 2}),
        ("/inference/v1/generate", {"token_ids": [5], "sampling_params": {"logprobs": 1}}),
        ("/v1/search", {"question": "How many?", "parameters": {"rollouts": 2}}),
    ],
)
def test_events_are_described(tried: LiveServer, path: str, body: dict[str, Any]) -> None:
    description = schemathesis.openapi.from_url(f"{tried.url}/openapi.json")
    case = description[path]["POST"].Case(body=body | {"stream": True}, media_type="application/json")
    answer = case.call_and_validate(checks=[status_code_conformance, response_schema_conformance], timeout=60)
    assert answer.headers["content-type"] == ["text/event-stream; charset=utf-8"]


def test_an_event_that_is_not_described_would_be_noticed(tried: LiveServer) -> None:
    description = httpx2.get(f"{tried.url}/openapi.json", timeout=60).json()
    description["components"]["schemas"]["SearchProgress"]["properties"]["votes"] = {"type": "string"}
    search = schemathesis.openapi.from_dict(description)["/v1/search"]["POST"]
    parameters = {"rollouts": 3, "parallel": 1, "vote_margin": 0}
    body = {"question": "How many?", "parameters": parameters, "stream": True}
    case = search.Case(body=body, media_type="application/json")
    with pytest.raises(FailureGroup, match="SSE event violates schema"):
        case.call_and_validate(base_url=tried.url, checks=[response_schema_conformance], timeout=60)


def test_the_description_has_the_limits_of_the_server(tried: LiveServer) -> None:
    text = httpx2.get(f"{tried.url}/openapi.json", timeout=60).text
    assert "x-limit" not in text
    schemas = json.loads(text)["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= schemas.keys()

    def integer(model: str, field: str) -> dict[str, Any]:
        described = schemas[model]["properties"][field]
        kinds = described.get("anyOf", [described])
        [kind] = [kind for kind in kinds if kind["type"] == "integer"]
        return {key: kind.get(key) for key in ("minimum", "maximum", "exclusiveMaximum")}

    assert integer("CompletionRequest", "max_tokens") == {"minimum": 0, "maximum": 8, "exclusiveMaximum": None}
    assert integer("ChatRequest", "top_logprobs") == {"minimum": 0, "maximum": 64, "exclusiveMaximum": None}
    assert integer("Extension", "n") == {"minimum": 1, "maximum": 4, "exclusiveMaximum": None}
    assert integer("ChatRequest", "seed") == {"minimum": -(2**63), "maximum": None, "exclusiveMaximum": 2**63}
    assert schemas["DetokenizeRequest"]["properties"]["tokens"]["items"]["maximum"] == 330


def test_nothing_is_left_behind(tried: LiveServer) -> None:
    tried.clock.now += 1e7
    httpx2.get(f"{tried.url}/v1/branches/br-000000000000000000000000")
    assert tried.idle()
    tried.check()


def test_every_route_says_what_it_is(client: httpx2.Client) -> None:
    description = client.get("/openapi.json").json()
    for path, operations in description["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            assert {"400", "401", "413", "429", "500", "503"} <= operation["responses"].keys(), path
            for status, header in (("401", "WWW-Authenticate"), ("429", "Retry-After"), ("503", "Retry-After")):
                assert operation["responses"][status]["headers"][header]["required"], path
    for name, schema in description["components"]["schemas"].items():
        if schema.get("type") == "object" and not name.endswith("Error"):
            assert schema.get("additionalProperties") is False, name


def test_keys_are_described(start: Any) -> None:
    server = start(api_keys=("k" * 20,))
    described = httpx2.get(
        f"{server.url}/openapi.json", headers={"authorization": "Bearer " + "k" * 20}, timeout=60
    ).json()
    assert described["security"] == [{"key": []}]
    assert described["paths"]["/health"]["get"]["security"] == []
