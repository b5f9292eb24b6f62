"""The sections of `make gpu-check` that time a whole engine, run on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from support.kernels.gpu_samples import OnceClock

from bench.common.shaped_checkpoint import qwen2_config
from bench.gpu import engine_times, models, random_model
from bench.gpu.engine_times import BranchTimes
from bench.gpu.findings import DecodeTiming, Finding, ProfileRow, Rate
from bench.gpu.models import Model
from bench.gpu.replays import KernelShare
from bench.gpu.section import Notebook, Task
from bench.gpu.sections import decode, prompts, search


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = qwen2_config(32, 48, 1, 2, 1, 12_000, tied=True)
    for module in (random_model, models):
        monkeypatch.setattr(module, "CONFIGS", {"tiny": tiny})
    monkeypatch.setattr(decode, "BRANCHES", (1, 3))
    monkeypatch.setattr(decode, "_PROFILED", (3,))
    monkeypatch.setattr(decode, "KV_TOKENS", 2048)
    monkeypatch.setattr(decode, "PREFIX_TOKENS", 20)
    monkeypatch.setattr(engine_times, "LONG", 5)
    monkeypatch.setattr(engine_times, "SHORT", 3)
    monkeypatch.setattr(decode, "SHORT", 3)


def found(section: Any) -> list[Finding]:
    notebook = Notebook()
    section.run(Task([Model("tiny", True)], "cpu", OnceClock(), notebook))
    return notebook.findings


def test_steps_without_graphs() -> None:
    timings = [one for one in found(decode) if isinstance(one, DecodeTiming)]
    assert [(one.contestant, one.model, one.branches, one.graph_s) for one in timings] == [
        ("marcot", "tiny", 3, None),
        ("marcot", "tiny", 1, None),
    ]


def test_steps_beside_the_graph_that_is_replayed_most(monkeypatch: pytest.MonkeyPatch) -> None:
    class Graph:
        def replay(self) -> None:
            raise NotImplementedError

    rare, step = Graph(), Graph()

    @contextmanager
    def counted() -> Iterator[Counter[Any]]:
        counts: Counter[Any] = Counter()
        yield counts
        counts.update({rare: 1, step: 96})

    monkeypatch.setattr(decode, "counted_replays", counted)
    monkeypatch.setattr(
        decode,
        "profiled",
        lambda run: [KernelShare(str(run == step.replay), 25, 3e-4), KernelShare("_merge", 24, 1e-4)],
    )
    monkeypatch.setattr(decode, "replay_seconds", lambda graph, repeats: 4e-4)
    numbers = found(decode)
    timings = [one for one in numbers if isinstance(one, DecodeTiming)]
    assert [(one.graph_s, one.launches) for one in timings] == [(4e-4, 49)] * 2
    assert [one for one in numbers if isinstance(one, ProfileRow)] == [
        ProfileRow("tiny, 3 branches", "True", 25, 3e-4),
        ProfileRow("tiny, 3 branches", "_merge", 24, 1e-4),
    ]


def test_a_step_is_the_difference_of_two_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock: half a second once, and 10 ms for every token but the first."""
    times = BranchTimes(SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(times, "draw", lambda forks, tokens: 0.5 + 0.01 * (tokens - 1))
    assert times.step_seconds([]) == pytest.approx(0.01)


def test_samples_of_two_draws_differ() -> None:
    firsts: list[int] = []

    class Engine:
        def expand(self, expansions: list[Any]) -> list[list[Any]]:
            firsts.extend(expansion.first for expansion in expansions)
            return [[SimpleNamespace(release=lambda: None)] for _ in expansions]

    times = BranchTimes(Engine())  # type: ignore[arg-type]
    times.draw([SimpleNamespace()] * 3, 4)  # type: ignore[list-item]
    times.draw([SimpleNamespace()] * 2, 4)  # type: ignore[list-item]
    assert firsts == [0, 1, 2, 3, 4]


def test_prompts_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "PROMPTS", 3)
    monkeypatch.setattr(prompts, "TOKENS", 20)
    monkeypatch.setattr(prompts, "KV_TOKENS", 1024)
    engines: list[Any] = []
    load = Model.engine

    def loaded(self: Model, device: str, kv_tokens: int) -> Any:
        engines.append(load(self, device, kv_tokens))
        return engines[-1]

    monkeypatch.setattr(Model, "engine", loaded)
    [rate] = found(prompts)
    assert isinstance(rate, Rate)
    assert (rate.what, rate.model, rate.rows) == ("prompts", "tiny", 3)
    assert engines[0].usage.prefill_tokens == 2 * 3 * 20


def test_a_search_draws_what_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "QUESTIONS", 2)
    monkeypatch.setattr(search, "_BEFORE", 1)
    monkeypatch.setattr(search, "KV_TOKENS", 4096)
    monkeypatch.setattr(
        search,
        "STRATEGY",
        search.MCTS(rollouts=2, parallel=2, action="mini-step-4", max_rollout_tokens=8, vote_margin=0),
    )
    [rate] = found(search)
    assert isinstance(rate, Rate)
    assert (rate.what, rate.model, rate.rows) == ("search", "tiny", search.IN_FLIGHT)
    assert rate.tokens_per_s > 0
