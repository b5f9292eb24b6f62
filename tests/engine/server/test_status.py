"""`/health`, `/version`, `/v1/models` and `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from support.server.live_server import LiveServer


def numbers(client: httpx2.Client) -> dict[str, float]:
    """All metrics by name; those of histograms and labels are added up."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def test_the_version(client: httpx2.Client) -> None:
    assert client.get("/version").json() == {"version": version("marcot")}


def test_a_model_has_several_names(start: Callable[..., LiveServer]) -> None:
    server = start(names=("small", "org/small"))
    with httpx2.Client(base_url=server.url) as client:
        models = client.get("/v1/models").json()["data"]
        assert [model["id"] for model in models] == ["small", "org/small"]
        assert client.get("/v1/models/org/small").json()["root"] == "small"
        answer = client.post("/v1/completions", json={"model": "org/small", "prompt": "x", "max_tokens": 1}).json()
        assert answer["model"] == "org/small"
        assert client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1}).json()["model"] == "small"


def test_work_is_counted(client: httpx2.Client, server: LiveServer) -> None:
    before = numbers(client)
    body = {"prompt": "Something that was not asked before 31", "max_tokens": 7, "n": 3, "temperature": 0}
    usage = client.post("/v1/completions", json=body).json()["usage"]
    again = client.post("/v1/completions", json=body).json()["usage"]
    with client.stream("POST", "/v1/completions", json=body | {"stream": True}) as stream:
        list(stream.iter_lines())
    assert server.idle()
    after = numbers(client)
    change = {name: after[name] - before.get(name, 0) for name in after}
    prompt = usage["prompt_tokens"]
    assert change["vllm:prompt_tokens_total"] == change["vllm:prefix_cache_queries_total"] == 3 * prompt
    assert change["vllm:prefix_cache_hits_total"] >= 2 * again["prompt_tokens_details"]["cached_tokens"] == 2 * prompt
    assert change["vllm:generation_tokens_total"] == change["marcot_generated_tokens_total"] == 3 * 3 * 7
    assert change["vllm:request_success_total"] == 9
    assert change["vllm:e2e_request_latency_seconds_count"] == 3
    assert change["vllm:time_to_first_token_seconds_count"] >= 1
    assert after["vllm:num_requests_running"] == after["vllm:num_requests_waiting"] == 0
    assert 0 <= after["vllm:kv_cache_usage_perc"] <= 1
    assert change["marcot_http_responses_total"] >= 3


def test_paths_that_are_not_there_do_not_fill_the_counters(client: httpx2.Client) -> None:
    client.get("/nothing-17")
    assert "nothing-17" not in client.get("/metrics").text


def test_a_server_that_is_about_to_end_says_so(start: Callable[..., LiveServer]) -> None:
    server = start()
    with httpx2.Client(base_url=server.url) as client:
        assert client.get("/health").status_code == 200
        asyncio.run(server.engine.drain())
        for answer in (client.get("/health"), client.post("/v1/completions", json={"prompt": "x"})):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
