"""On the CPU kernels a branch has the same bits alone and in any batch, with any number of threads and step size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marcot.engine import Engine, Expansion, Node, Sampling
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.kernels import Compute, select
from marcot.kernels.cpu import CpuKernels
from marcot.model import Decoder, WeightFormat, load_checkpoint
from support.programs import system_tools

CPU = torch.device("cpu")
PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31, 7, 120, 64, 300, 12, 13, 14, 15, 16, 200, 201]


class Setting(NamedTuple):
    """A model and how it computes."""

    model: str
    weights: WeightFormat
    compute: Compute


TINY = {
    "tiny-exact": Setting("qwen2", "stored", "exact"),
    "tiny-fast": Setting("llama3.2", "int4", "fast"),
    "tiny-head-norms": Setting("qwen3", "int8", "fast"),
}
REAL = {
    "smollm2-135m-fast": Setting("smollm2-135m", "stored", "fast"),
    "qwen2.5-coder-0.5b-exact": Setting("qwen2.5-coder-0.5b", "stored", "exact"),
    "qwen2.5-coder-0.5b-fast": Setting("qwen2.5-coder-0.5b", "stored", "fast"),
}

REAL_MARKS = [pytest.mark.real, pytest.mark.slow]


class OneByOne(CpuKernels):
    """The CPU kernels, without the call that computes all layers at once."""

    def fuse(self, *_: object) -> None:  # type: ignore[override]
        return None


@pytest.fixture(scope="module", autouse=True)
def _cpu_kernels() -> None:
    if select(CPU).name != "cpu":
        pytest.skip(system_tools.why_skipped("g++"))


class Loader:
    """Engines on one model, whose weights are loaded once for each kernel set."""

    def __init__(self, model: Path, setting: Setting) -> None:
        self._model, self._setting = model, setting
        self._decoders: dict[type, Decoder] = {}

    def __call__(
        self, kernels: type[CpuKernels] = CpuKernels, kv_tokens: int = 4096, step_tokens: int | None = None
    ) -> Engine:
        """A new engine."""
        if kernels not in self._decoders:
            cpu, (_, weights, compute) = select(CPU), self._setting
            assert isinstance(cpu, CpuKernels)
            with load_checkpoint(self._model) as checkpoint:
                ops = kernels(cpu._library)
                self._decoders[kernels] = Decoder(checkpoint, ops, torch.float32, CPU, compute, weights)
        limits = None if step_tokens is None else SchedulerLimits(step_tokens=step_tokens, requests=7)
        return Engine(self._decoders[kernels], None, kv_tokens, limits)

    @cached_property
    def grown(self) -> list[Node]:
        """The nodes that `grow` makes, with torch's number of threads at the first access."""
        return grow(self())


@pytest.fixture(params=TINY, scope="module")
def tiny(request: pytest.FixtureRequest, tiny_checkpoint: Callable[..., Path]) -> Loader:
    setting = TINY[request.param]
    return Loader(tiny_checkpoint(setting.model), setting)


@pytest.fixture(params=[*TINY, *(pytest.param(name, marks=REAL_MARKS) for name in REAL)], scope="module")
def load(
    request: pytest.FixtureRequest, tiny_checkpoint: Callable[..., Path], real_model: Callable[[str], Path]
) -> Loader:
    if request.param in TINY:
        return Loader(tiny_checkpoint(TINY[request.param].model), TINY[request.param])
    return Loader(real_model(REAL[request.param].model), REAL[request.param])


def sample(tokens: int) -> Sampling:
    return Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=tokens, ignore_eos=True, seed=3)


def grow(engine: Engine) -> list[Node]:
    """Three generations of branches of different lengths below two prompts, decoded in common batches."""
    generation = [engine.prefill(PROMPT), engine.prefill(PROMPT[::-1])]
    nodes = [*generation]
    for tokens in (4, 9, 3):
        asked = [Expansion(node, 2, sample(tokens + number % 3)) for number, node in enumerate(generation)]
        generation = [child for family in engine.expand(asked) for child in family]
        nodes += generation
    engine.tree.check_integrity()
    return nodes


def assert_same(nodes: Sequence[Node], others: Sequence[Node]) -> None:
    for node, other in zip(nodes, others, strict=True):
        for field in ("token_ids", "logprobs", "top_ids", "top_logprobs"):
            np.testing.assert_array_equal(getattr(node, field), getattr(other, field))


def test_alone_and_in_a_batch(load: Loader) -> None:
    """Each branch is drawn again alone, below a prompt that is its whole path, and scored in one chunk of tokens."""
    nodes = load.grown
    assert len({tuple(node.path_ids) for node in nodes}) > 20
    for number, leaf in list(enumerate(nodes[-16:]))[::3]:
        length = len(leaf.token_ids)
        alone = load()
        assert_same(alone.expand(alone.prefill(leaf.path_ids[:-length]), 1, sample(length), first=number % 2), [leaf])
        (score,) = alone.score([leaf.path_ids], top_k=5)
        np.testing.assert_array_equal(score.logprobs[-length:], leaf.logprobs)
        np.testing.assert_array_equal(score.top_logprobs[-length:], leaf.top_logprobs[:, :5])


def test_on_one_thread(load: Loader) -> None:
    load.grown  # noqa: B018 - on more threads, if the model is a real one
    torch.set_num_threads(1)
    assert_same(grow(load()), load.grown)


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_on_several_threads(tiny: Loader, threads: int) -> None:
    torch.set_num_threads(threads)
    assert_same(grow(tiny()), tiny.grown)


@pytest.mark.parametrize("step_tokens", [1, 5, 64])
def test_sizes_of_a_step(tiny: Loader, step_tokens: int) -> None:
    assert_same(grow(tiny(step_tokens=step_tokens)), tiny.grown)


def test_all_layers_in_one_call_and_one_by_one(load: Loader) -> None:
    assert_same(grow(load(OneByOne)), load.grown)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_searches(tiny: Loader, data: st.DataObject) -> None:
    """Expand, cut, append and release at random in 24 pages. Every branch scores exactly as if it were alone."""
    small, large = tiny(kv_tokens=24 * 16), tiny()
    torch.set_num_threads(data.draw(st.integers(1, 3), "threads"))
    nodes = [small.prefill(PROMPT)]
    for _ in range(data.draw(st.integers(2, 6), "rounds")):
        action = data.draw(st.sampled_from(["expand", "prefix", "append", "release"]), "action")
        node = data.draw(st.sampled_from(nodes), "node")
        if action == "expand":
            more = data.draw(st.lists(st.sampled_from(nodes), max_size=3), "more")
            asked = [
                Expansion(one, 3, sample(data.draw(st.integers(1, 30)))) for one in [node, *more] if one.length < 150
            ]
            children = [child for family in small.expand(asked) for child in family]
            nodes += children
            for child, score in zip(children, large.score([child.path_ids for child in children]), strict=True):
                np.testing.assert_array_equal(score.logprobs[-len(child.token_ids) :], child.logprobs)
        elif action == "prefix":
            nodes.append(node.prefix(data.draw(st.integers(1, len(node.token_ids)), "length")))
        elif action == "append":
            nodes.append(node.append(data.draw(st.lists(st.integers(3, 330), min_size=1, max_size=20), "ids")))
        elif len(nodes) > 1:
            nodes.remove(node)
            node.release()
        small.tree.check_integrity()
