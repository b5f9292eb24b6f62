"""The counters of `/metrics` in Prometheus text format: under marcot's names, and vLLM's where they mean the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ..serving.async_engine import AsyncEngine
from .leases import Leases

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640)
"""Histogram buckets: from one token of a small model to a long answer of a large model on a CPU."""


class Metrics:
    """Counters of one server.

    Attributes:
        registry: Prometheus registry of all counters.
    """

    def __init__(self, model: str) -> None:
        """Create counters labelled with this model name."""
        self.registry = CollectorRegistry()
        names = ("model_name",)
        self._model = model
        self._first = self._histogram("time_to_first_token_seconds", "Seconds from a request to its first text")
        self._gap = self._histogram("inter_token_latency_seconds", "Seconds between two texts of a stream")
        self._whole = self._histogram("e2e_request_latency_seconds", "Seconds from a request to its end")
        self._success = Counter(
            "vllm:request_success",
            "Samples that ended, by finish reason",
            (*names, "finished_reason"),
            registry=self.registry,
        )
        self._answers = Counter(
            "marcot_http_responses", "Answers by route and status", ("route", "status"), registry=self.registry
        )

    def watch(self, engine: AsyncEngine, leases: Leases) -> None:
        """Also export the counters that `engine` and `leases` keep."""
        self.registry.register(_EngineCounts(engine, leases, self._model))

    def first_token(self, seconds: float) -> None:
        """Record the time to a request's first text."""
        self._first.observe(seconds)

    def gap(self, seconds: float) -> None:
        """Record the time between two texts of a stream."""
        self._gap.observe(seconds)

    def ended(self, seconds: float, reasons: list[str]) -> None:
        """Record the end of a request, with the finish reason of each sample."""
        self._whole.observe(seconds)
        for reason in reasons:
            self._success.labels(self._model, reason).inc()

    def answered(self, route: str, status: int) -> None:
        """Count an answer."""
        self._answers.labels(route, str(status)).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus text format."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        histogram = Histogram(f"vllm:{name}", help, ("model_name",), buckets=_SECONDS, registry=self.registry)
        return histogram.labels(self._model)


@dataclass(frozen=True, slots=True)
class _EngineCounts(Collector):
    """Reads the engine's counters at each scrape."""

    engine: AsyncEngine
    leases: Leases
    model: str

    def collect(self) -> Iterator[Metric]:
        stats = self.engine.stats()
        for name, vllm, help, value in (
            ("branches_running", "num_requests_running", "Branches and prompts in the batch", stats.running),
            ("branches_waiting", "num_requests_waiting", "Branches and prompts that wait", stats.waiting),
            ("kv_cache_usage", "kv_cache_usage_perc", "Share of the KV cache in use, from 0 to 1", stats.kv_usage),
        ):
            yield self._gauge(f"marcot_{name}", help, value)
            yield self._gauge(f"vllm:{vllm}", help, value)
        yield self._gauge("marcot_requests_open", "Open requests of the engine", stats.requests)
        yield self._gauge("marcot_branches_held", "Branches that clients hold", len(self.leases))
        for name, vllm, help, count in (
            ("prompt_tokens", "prompt_tokens", "Prompt tokens", stats.prompt_tokens),
            (
                "prefix_cache_queries",
                "prefix_cache_queries",
                "Prompt tokens that were looked up in the cache",
                stats.prompt_tokens,
            ),
            ("prefix_cache_hits", "prefix_cache_hits", "Prompt tokens found in the cache", stats.cached_tokens),
            ("generated_tokens", "generation_tokens", "Tokens drawn", stats.generated_tokens),
            ("preemptions", "num_preemptions", "Times a branch lost its K and V to make room", stats.preemptions),
        ):
            yield self._count(f"marcot_{name}", help, count)
            yield self._count(f"vllm:{vllm}", help, count)
        yield self._count(
            "marcot_recomputed_tokens", "Tokens computed again after an eviction", stats.recomputed_tokens
        )

    def _gauge(self, name: str, help: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, help, labels=["model_name"])
        family.add_metric([self.model], value)
        return family

    def _count(self, name: str, help: str, value: float) -> Metric:
        family = CounterMetricFamily(name, help, labels=["model_name"])
        family.add_metric([self.model], value)
        return family
