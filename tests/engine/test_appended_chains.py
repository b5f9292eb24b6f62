"""Nodes that were appended one to another are computed together, like the prompt that they form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from marcot.engine import Engine, Expansion, Node, Sampling
from marcot.engine.plan.planner import Reader
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.engine.scheduler.step_runner import Decoded
from marcot.kernels import select
from torch import device

PROMPT = [5, 17, 3, 99]
CHAIN = [(31 * number + 7) % 331 for number in range(64)]
ASKED = Sampling(temperature=1.0, top_k=20, max_tokens=3, ignore_eos=True, seed=2)

Load = Callable[..., Engine]


@pytest.fixture
def load(tiny_checkpoint: Callable[..., Path]) -> Load:
    folder = str(tiny_checkpoint("qwen2"))

    def load(kv_tokens: int = 4096, step_tokens: int = 512) -> Engine:
        engine = Engine.load(folder, kv_tokens=kv_tokens)
        engine._scheduler._limits = SchedulerLimits(step_tokens=step_tokens)
        return engine

    return load


def chain(engine: Engine, pieces: Sequence[Sequence[int]]) -> list[Node]:
    nodes = [engine.prefill(PROMPT)]
    for piece in pieces:
        nodes.append(nodes[-1].append(piece))
    return nodes


def steps_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list to which every later forward pass appends its number of rows."""
    rows: list[int] = []
    step_runner = engine._scheduler._step_runner
    run = step_runner.run

    def counted(readers: Sequence[Reader]) -> Decoded:
        rows.append(sum(reader.rows for reader in readers))
        return run(readers)

    monkeypatch.setattr(step_runner, "run", counted)
    return rows


def assert_same_bits(node: Node, other: Node) -> None:
    for field in ("token_ids", "logprobs", "top_ids", "top_logprobs", "confidences"):
        np.testing.assert_array_equal(getattr(node, field), getattr(other, field))


@pytest.mark.parametrize(
    ("step_tokens", "rows"), [(512, [64]), (64, [64]), (10, [10, 10, 10, 10, 10, 10, 4]), (1, [1] * 64)], ids=str
)
@pytest.mark.parametrize("piece", [1, 3, 64], ids=lambda piece: f"pieces-of-{piece}")
def test_a_step_takes_as_many_nodes_as_its_budget_holds(
    load: Load, monkeypatch: pytest.MonkeyPatch, step_tokens: int, rows: list[int], piece: int
) -> None:
    engine = load(step_tokens=step_tokens)
    leaf = chain(engine, [CHAIN[i : i + piece] for i in range(0, len(CHAIN), piece)])[-1]
    taken = steps_of(engine, monkeypatch)
    (child,) = engine.expand(leaf, 1, ASKED)
    assert taken == rows, "the tokens after the first are drawn in rounds"
    assert engine.usage.prefill_tokens == len(PROMPT) + len(CHAIN)
    assert engine.usage.recomputed_tokens == 0
    if select(device("cpu")).deterministic:
        whole = load()
        assert_same_bits(child, whole.expand(whole.prefill([*PROMPT, *CHAIN]), 1, ASKED)[0])
    engine.tree.check_integrity()


@pytest.mark.parametrize("step_tokens", [512, 7], ids=lambda tokens: f"{tokens}-rows")
@pytest.mark.parametrize("pages", [256, 24], ids=lambda pages: f"{pages}-pages")
def test_branches_all_along_a_chain(load: Load, pages: int, step_tokens: int) -> None:
    """With few pages the chain is evicted and recomputed while branches wait."""
    pieces = [CHAIN[i : i + 5] for i in range(0, 50, 5)]
    engine = load(pages * 16, step_tokens)
    nodes = chain(engine, pieces)[1:]
    (extra,) = engine.expand(engine.prefill(CHAIN[::-1]), 1, ASKED)
    asked = [Expansion(node, 2, ASKED) for node in [*nodes[::2], extra, *nodes[1::2]]]
    families = engine.expand(asked)
    engine.tree.check_integrity()
    if select(device("cpu")).deterministic:
        for (node, *_), family in zip(asked, families, strict=True):
            alone = load()
            for child, other in zip(family, alone.expand(alone.prefill(node.path_ids), 2, ASKED), strict=True):
                assert_same_bits(child, other)
