"""The whole engine with plans in tiles and recorded decode steps gives the same branches as without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import Engine, Expansion, Node, Sampling
from marcot.kernels import Kernels, reference
from marcot.model import DecodeGraphs, Decoder, load_checkpoint
from support.kernels.graph_recorder import GraphRecorder
from support.kernels.tiled_reference import TiledReference

CPU = torch.device("cpu")
PROMPT = [5, 17, 3, 99, 4, 250, 8, 8, 31, 7, 120, 64, 300, 12, 13, 14, 15, 16, 200, 201]


@pytest.fixture(scope="module")
def load(tiny_checkpoint: Callable[..., Path]) -> Callable[[Kernels], Decoder]:
    def load(kernels: Kernels) -> Decoder:
        with load_checkpoint(tiny_checkpoint("qwen2-untied", num_hidden_layers=2)) as checkpoint:
            return Decoder(checkpoint, kernels, torch.float32, CPU)

    return load


@pytest.fixture(scope="module")
def decoder(load: Callable[[Kernels], Decoder]) -> Decoder:
    return load(TiledReference())


@pytest.fixture(scope="module")
def by_items(load: Callable[[Kernels], Decoder]) -> Decoder:
    return load(cast(Kernels, reference))


def graphed(decoder: Decoder, kv_tokens: int, record: object) -> Engine:
    """An engine whose steps are recorded by `record`."""
    engine = Engine(decoder, None, kv_tokens)
    step_runner = engine._scheduler._step_runner
    assert step_runner._graphs is None, "there is no GPU"
    step_runner._graphs = DecodeGraphs(decoder, step_runner._cache, record, most_rows=16)  # type: ignore[arg-type]
    return engine


def grow(engine: Engine) -> list[Node]:
    """Three generations of branches with different sampling, which end at different times."""
    ways = (
        Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=7, ignore_eos=True, seed=3),
        Sampling(temperature=0.7, top_k=20, max_tokens=5, ignore_eos=True, seed=3, repetition_penalty=1.2),
        Sampling(temperature=0.0, max_tokens=9, ignore_eos=True),
        Sampling(temperature=3.0, top_k=0, top_p=0.99, max_tokens=4, ignore_eos=True, top_logprobs=9),
    )
    generation = [engine.prefill(PROMPT), engine.prefill(PROMPT[::-1])]
    nodes = []
    for width in (2, 1, 1):
        expansions = [Expansion(node, width, way) for node in generation for way in ways]
        families = engine.expand(expansions)
        engine.tree.check_integrity()
        nodes += [child for family in families for child in family]
        generation = [family[0] for family in families[:: len(families) // 3]]
    return nodes


def assert_same(nodes: list[Node], others: list[Node]) -> None:
    for node, other in zip(nodes, others, strict=True):
        assert node.token_ids.tolist() == other.token_ids.tolist()
        for field in ("logprobs", "top_logprobs", "confidences"):
            np.testing.assert_allclose(getattr(node, field), getattr(other, field), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kv_tokens", [4096, 21 * 16], ids=["roomy", "crowded"])
def test_branches_are_the_same(decoder: Decoder, by_items: Decoder, kv_tokens: int) -> None:
    """In a crowded pool, requests are preempted and come back, so that pure decode steps alternate with mixed ones."""
    recorder = GraphRecorder()
    recorded, tiled, plain = (
        *(graphed(decoder, kv_tokens, recorder), Engine(decoder, None, kv_tokens)),
        Engine(by_items, None, kv_tokens),
    )
    expected = grow(plain)
    assert_same(grow(tiled), expected)
    assert_same(grow(recorded), expected)
    assert recorded.usage == tiled.usage == plain.usage
    assert recorder.rows[0] == 16
    assert len(set(recorder.rows)) > 2


def test_an_engine_that_cannot_record_goes_on_without(decoder: Decoder, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(run: object) -> None:
        raise RuntimeError("no graphs today")

    assert_same(grow(graphed(decoder, 4096, refuse)), grow(Engine(decoder, None, 4096)))
    assert caplog.messages == ["decoding without CUDA graphs: no graphs today"]


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_random_searches(decoder: Decoder, by_items: Decoder, data: st.DataObject) -> None:
    """Expand, cut, append and release at random in 26 pages. Every drawn token scores as with plans in work items."""
    small, large = graphed(decoder, 26 * 16, GraphRecorder()), Engine(by_items, None, 4096)
    nodes = [small.prefill(PROMPT)]
    for _ in range(data.draw(st.integers(2, 7), "rounds")):
        node = data.draw(st.sampled_from(nodes), "node")
        match data.draw(st.sampled_from(["expand", "expand", "prefix", "append", "release"]), "action"):
            case "expand":
                asked = [node, *data.draw(st.lists(st.sampled_from(nodes), max_size=3), "more")]
                families = small.expand([Expansion(one, 2, free(data)) for one in asked if one.length < 150])
                children = [child for family in families for child in family]
                for child, score in zip(children, large.score([child.path_ids for child in children]), strict=True):
                    drawn = score.logprobs[-len(child.token_ids) :]
                    np.testing.assert_allclose(child.logprobs, drawn, atol=1e-4, rtol=0)
                nodes += children
            case "prefix":
                nodes.append(node.prefix(data.draw(st.integers(1, len(node.token_ids)), "length")))
            case "append":
                nodes.append(node.append(data.draw(st.lists(st.integers(3, 330), min_size=1, max_size=20), "ids")))
            case "release" if len(nodes) > 1:
                nodes.remove(node)
                node.release()
        small.tree.check_integrity()


def free(data: st.DataObject) -> Sampling:
    tokens = data.draw(st.integers(1, 40), "tokens")
    return Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=tokens, ignore_eos=True, seed=11)
