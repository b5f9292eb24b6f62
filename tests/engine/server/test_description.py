"""schemathesis sends requests that the OpenAPI description allows, and others: none of them is a server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from marcot.engine import Engine
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
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
    for name, schema in description["components"]["schemas"].items():
        if schema.get("type") == "object" and not name.endswith("Error"):
            assert schema.get("additionalProperties") is False, name


def test_keys_are_described(start: Any) -> None:
    server = start(api_keys=("k" * 20,))
    described = httpx2.get(f"{server.url}/openapi.json", headers={"authorization": "Bearer " + "k" * 20}).json()
    assert described["security"] == [{"key": []}]
    assert described["paths"]["/health"]["get"]["security"] == []
