"""The engine is batch-invariant on deterministic GPU kernels.

They run in Triton's interpreter, unless `MARCOT_TEST_DEVICE` names a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from marcot.engine import Engine, Expansion, Node, Sampling
from marcot.engine.plan.tile_planner import TilePlanner
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.kernels.plan import tiler
from marcot.model import DecodeGraphs
from support.kernels import triton_device
from support.kernels.graph_recorder import GraphRecorder
from support.kernels.interpreter_arithmetic import multiply_rows_apart

pytestmark = pytest.mark.usefixtures("poison")

PROMPT = [(7 * number * number + 5) % 331 for number in range(45)]
WIDE = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=5, ignore_eos=True, seed=3)
NARROW = Sampling(temperature=0.8, top_k=5, top_p=0.95, max_tokens=3, ignore_eos=True, seed=3)
NUCLEUS = Sampling(temperature=1.3, top_k=0, top_p=0.9, max_tokens=2, ignore_eos=True, seed=3)

Load = Callable[..., Engine]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Callable[..., Path]) -> Load:
    """`load(dtype, ...)`: an engine with tiles of 16 tokens, so that short paths have several."""
    monkeypatch.setenv("MARCOT_KERNELS", "triton")
    monkeypatch.setattr(tiler, "CHUNK", 16)
    if triton_device.DEVICE == "cpu":
        multiply_rows_apart(monkeypatch)
    folder = tiny_checkpoint("qwen2", num_hidden_layers=1)

    def load(dtype: str, **options: Any) -> Engine:
        options = {"device": triton_device.DEVICE, "kv_tokens": 2048, "deterministic": True} | options
        return Engine.load(str(folder), dtype=dtype, **options)

    return load


class Grown(NamedTuple):
    """A branch, and how it was drawn."""

    node: Node
    sampling: Sampling
    index: int

    def again(self, engine: Engine) -> Node:
        """Draw the same branch again, below a prompt that is its whole path."""
        tokens = self.node.path_ids[: -len(self.node.token_ids)]
        return engine.expand(engine.prefill(tokens), 1, self.sampling, first=self.index)[0]


def grow(engine: Engine) -> list[Grown]:
    """Branches of two prompts with a common beginning; some fork from the middle or the end of others.

    They sample in different ways and end at different times, while prompts are computed in chunks beside them.
    """
    engine._scheduler._limits = SchedulerLimits(step_tokens=17, requests=7, round_tokens=2)
    long, short = engine.prefill(PROMPT), engine.prefill([*PROMPT[:26], 9])
    generations = [[(long, 2, WIDE), (short, 2, NARROW)]]
    grown = []
    for _ in range(2):
        families = engine.expand([Expansion(*expansion) for expansion in generations[-1]])
        grown += [
            Grown(node, sampling, index)
            for family, (_, _, sampling) in zip(families, generations[-1], strict=True)
            for index, node in enumerate(family)
        ]
        new = engine.prefill(PROMPT[::-1][:19]).append([7]).append([8, 9])  # two nodes for one step
        generations.append([(families[0][0].prefix(2), 2, NUCLEUS), (families[1][-1], 1, WIDE), (new, 1, NARROW)])
    engine.tree.check_integrity()
    return grown


def assert_same_bits(node: Node, other: Node) -> None:
    for field in ("token_ids", "logprobs", "top_ids", "top_logprobs", "confidences"):
        np.testing.assert_array_equal(getattr(node, field), getattr(other, field))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_alone_and_in_a_batch(load: Load, dtype: str) -> None:
    """Alone, the path of the branch is a prompt that is computed in one piece; it is decoded in single steps, or in
    rounds of up to 16 tokens, which are recorded.
    """
    grown = grow(load(dtype))
    assert len({tuple(each.node.path_ids) for each in grown}) == len(grown)
    for number, each in enumerate(grown[::2]):
        alone = load(dtype)
        assert alone.deterministic
        alone._scheduler._limits = SchedulerLimits(round_tokens=16 if number % 2 else 1)
        if number % 2 and triton_device.DEVICE == "cpu":
            step_runner = alone._scheduler._step_runner
            step_runner._graphs = DecodeGraphs(step_runner._decoder, step_runner._cache, GraphRecorder(), most_rows=2)
        assert_same_bits(each.again(alone), each.node)


def test_without_it_attention_is_cut_by_its_cost(load: Load) -> None:
    """The option reaches the planner and the kernels."""
    for deterministic in (False, True):
        engine = load("float32", deterministic=deterministic)
        step_runner = engine._scheduler._step_runner
        planner = step_runner._planner
        assert isinstance(planner, TilePlanner)
        assert (
            planner.deterministic == step_runner._decoder.kernels.deterministic == engine.deterministic == deterministic
        )
