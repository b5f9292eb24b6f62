"""The whole engine on the Triton kernels against the reference: the same tokens, close log-probabilities.

They run in Triton's interpreter, unless `MARCOT_TEST_DEVICE` names a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marcot.engine import MCTS, Engine, Expansion, Node, Sampling
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.model import DecodeGraphs
from support.kernels import triton_device
from support.kernels.graph_recorder import GraphRecorder

pytestmark = pytest.mark.usefixtures("poison")

PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31, 7, 120, 64, 300, 12, 13, 14, 15, 16, 200]

CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2-tied-group-7": ("qwen2", {"num_hidden_layers": 1}),
    "qwen2-untied-group-6": ("qwen2-untied", {"num_hidden_layers": 1}),
    "qwen3-head-norms": ("qwen3", {"num_hidden_layers": 1}),
    "smollm3-group-3-second-without-rope": (
        "smollm3",
        {
            "num_hidden_layers": 2,
            "no_rope_layers": [1, 0],
            "hidden_size": 144,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
        },
    ),
}
TOLERANCE = 1e-4
"""Difference of log-probabilities in fp32, whose sums have another order."""

HALVES = ("float16",) if triton_device.DEVICE == "cpu" else ("float16", "bfloat16")
"""Triton's interpreter computes bfloat16 products wrongly."""

Load = Callable[..., Engine]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """`load(kernels, checkpoint, ...)`: an engine on these kernels."""

    def load(kernels: str, checkpoint: Path, **options: Any) -> Engine:
        monkeypatch.setenv("MARCOT_KERNELS", kernels)
        device = triton_device.DEVICE if kernels == "triton" else "cpu"
        engine = Engine.load(str(checkpoint), device=device, **({"kv_tokens": 2048, "dtype": "float32"} | options))
        if kernels == "triton":
            engine._scheduler._limits = SchedulerLimits(round_tokens=16)
        return engine

    return load


@pytest.fixture(params=CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def checkpoint(request: pytest.FixtureRequest, tiny_checkpoint: Callable[..., Path]) -> Path:
    kind, overrides = request.param
    return tiny_checkpoint(kind, **overrides)


def grow(engine: Engine) -> list[Node]:
    """A prompt, three branches of different lengths and kinds, and three more below two of them, one cut short.

    Few candidates and few steps, because the interpreter takes a second for each.
    """
    free = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=2, ignore_eos=True, seed=3)
    few = Sampling(temperature=0.8, top_k=5, top_p=0.95, max_tokens=3, ignore_eos=True, seed=3)
    best = Sampling(temperature=0.0, max_tokens=2, ignore_eos=True)
    prompt = engine.prefill(PROMPT)
    [one], [two], [three] = engine.expand([Expansion(prompt, 1, sampling) for sampling in (free, few, best)])
    below = engine.expand([Expansion(one, 2, free), Expansion(two.prefix(2), 1, few)])
    engine.tree.check_integrity()
    return [one, two, three, *(node for family in below for node in family)]


def test_a_tree_of_branches(load: Load, checkpoint: Path) -> None:
    expected, got = (grow(load(kernels, checkpoint)) for kernels in ("reference", "triton"))
    for theirs, ours in zip(expected, got, strict=True):
        assert ours.token_ids.tolist() == theirs.token_ids.tolist()
        for field in ("logprobs", "top_logprobs", "confidences"):
            np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dtype", HALVES)
def test_halves_are_as_close_to_fp32_as_the_reference(load: Load, checkpoint: Path, dtype: str) -> None:
    """Every op rounds its results to 11 or 8 bits, wherever it runs."""
    nodes = grow(load("triton", checkpoint, dtype=dtype))
    truth = load("reference", checkpoint).score([node.path_ids for node in nodes])
    rounded = load("reference", checkpoint, dtype=dtype).score([node.path_ids for node in nodes])
    ours, theirs = [], []
    for node, exact, other in zip(nodes, truth, rounded, strict=True):
        drawn = slice(-len(node.logprobs), None)
        ours.append(node.logprobs - exact.logprobs[drawn])
        theirs.append(other.logprobs[1:] - exact.logprobs[1:])
    ours, theirs = (np.abs(np.concatenate(differences)).mean() for differences in (ours, theirs))
    assert ours < 2 * theirs


def test_a_search(load: Load, tiny_checkpoint: Callable[..., Path]) -> None:
    """On recorded steps: CUDA graphs, or their stand-in where there is no GPU."""
    folder = tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)
    sampling = Sampling(temperature=1.5, top_k=5, top_p=1.0)
    strategy = MCTS(rollouts=3, max_rollout_tokens=4, action="mini-step-2", width=2, parallel=2, sampling=sampling)
    reference, triton = load("reference", folder), load("triton", folder)
    step_runner = triton._scheduler._step_runner
    if step_runner._graphs is None:
        step_runner._graphs = DecodeGraphs(step_runner._decoder, step_runner._cache, GraphRecorder(), most_rows=2)
    [expected], [got] = (engine.search("How?", strategy, instruction=None) for engine in (reference, triton))
    assert step_runner._graphs.works
    assert list(map(shape, got.tree)) == list(map(shape, expected.tree))
    assert [rollout.text for rollout in got.rollouts] == [rollout.text for rollout in expected.rollouts]
    assert got.best_path == expected.best_path
    values = [[rollout.value for rollout in result.rollouts] for result in (got, expected)]
    np.testing.assert_allclose(*values, atol=TOLERANCE, rtol=0)


def shape(node: Any) -> tuple[Any, ...]:
    return node.parent, node.text, node.visits, node.tokens
