"""Rounds of any length give the same bits as single tokens: tokens, distributions, texts, ends and trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marcot.engine import MCTS, Beam, BestOfN, Engine, Expansion, Node, Sampling
from marcot.engine.scheduler import scheduler, step_runner
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.kernels import Kernels, select
from marcot.model import DecodeGraphs, Decoder, Tokenizer, load_checkpoint
from support.kernels.graph_recorder import GraphRecorder
from support.kernels.row_by_row import RowByRow, TiledRowByRow
from support.programs import system_tools

CPU = torch.device("cpu")
LENGTHS = (1, 2, 5, 16)
PROMPT = "How many clips did Natalia sell in April?"
PAGES = (400, 24)
"""Plenty of pages, and so few that branches are preempted."""


class Loaded(NamedTuple):
    """A decoder and a tokenizer, to make engines of."""

    decoder: Decoder
    tokenizer: Tokenizer

    def engine(self, tokens: int, pages: int = PAGES[0], **limits: int) -> Engine:
        """An engine with rounds of at most `tokens`. If its plans are in tiles, its rounds are recorded."""
        engine = Engine(self.decoder, self.tokenizer, pages * 16, SchedulerLimits(round_tokens=tokens, **limits))
        passes = engine._scheduler._step_runner
        if self.decoder.kernels.tiling(14, 2) is not None:
            passes._graphs = DecodeGraphs(self.decoder, passes._cache, GraphRecorder(), most_rows=8)
        return engine


@pytest.fixture(scope="module", params=["cpu", "reference", "recorded"])
def loaded(request: pytest.FixtureRequest, tiny_checkpoint: Callable[..., Path]) -> Iterator[Loaded]:
    """Recorded rounds are launched and planned ahead even if few branches go on."""
    sets = {"cpu": lambda: select(CPU), "reference": RowByRow, "recorded": TiledRowByRow}
    kernels = cast(Kernels, sets[request.param]())
    if kernels.name == "reference":
        pytest.skip(system_tools.why_skipped("g++"))
    with (
        load_checkpoint(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)) as checkpoint,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(scheduler, "_MANY", 1)
        patch.setattr(step_runner, "_FEW_ENDED", 1)
        tokenizer = checkpoint.tokenizer()
        assert tokenizer is not None
        yield Loaded(Decoder(checkpoint, kernels, torch.float32, CPU), tokenizer)


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0, 3.0, 50.0]),
    top_k=st.sampled_from([0, 0, 1, 5, 20, 100]),
    top_p=st.sampled_from([1.0, 1.0, 0.95, 0.3]),
    min_p=st.sampled_from([0.0, 0.0, 0.1]),
    repetition_penalty=st.sampled_from([1.0] * 5 + [1.3, 0.8]),
    frequency_penalty=st.sampled_from([0.0] * 5 + [0.9]),
    logit_bias=st.sampled_from([{}] * 5 + [{7: 3.0, 8: -2.0}]),
    min_tokens=st.sampled_from([0] * 5 + [6]),
    max_tokens=st.integers(1, 40),
    stop=st.lists(st.sampled_from(["e", " s", "an", "。", "24", "\ufffd", "<|im_start|>"]), max_size=2).map(tuple),
    include_stop=st.booleans(),
    stop_token_ids=st.lists(st.integers(3, 330), max_size=12).map(tuple),
    ignore_eos=st.booleans(),
    seed=st.integers(0, 5),
    top_logprobs=st.sampled_from([5, 9]),
)


class Act(NamedTuple):
    """One operation on the existing nodes: expand some, cut one, append to one, score a path, or release one."""

    kind: str
    nodes: list[int]
    n: int
    sampling: list[Sampling]


acts = st.builds(
    Act,
    st.sampled_from(["expand", "expand", "expand", "prefix", "append", "score", "release"]),
    st.lists(st.integers(0, 99), min_size=1, max_size=4),
    st.integers(1, 3),
    st.lists(samplings, min_size=4, max_size=4),
)


def told(node: Node) -> tuple[Any, ...]:
    """Everything a node says about itself; arrays as bytes."""
    arrays = (node.token_ids, node.logprobs, node.top_ids, node.top_logprobs, node.confidences)
    return node.text, node.finish_reason, node.path_ids, *((array.shape, array.tobytes()) for array in arrays)


def play(engine: Engine, script: list[Act]) -> list[Any]:
    """Carry out `script` and return everything that the nodes and scores said."""
    nodes, said = [engine.prefill(PROMPT), engine.prefill([5, 6, 7])], []
    for kind, chosen, n, ways in script:
        picked = [nodes[number % len(nodes)] for number in chosen]
        if kind == "expand":
            asked = [Expansion(node, n, way) for node, way in zip(picked, ways, strict=False) if node.length < 120]
            for family in engine.expand(asked):
                nodes += family
                said += map(told, family)
        elif kind == "prefix":
            nodes.append(picked[0].prefix(1 + n % len(picked[0].token_ids)))
        elif kind == "append" and picked[0].length < 120:
            nodes.append(picked[0].append([7 * number % 331 for number in chosen]))
        elif kind == "score":
            said += [score.logprobs.tobytes() for score in engine.score([node.path_ids for node in picked])]
        elif len(nodes) > 1:
            nodes.remove(picked[0])
            picked[0].release()
        engine.tree.check_integrity()
    assert engine._scheduler.idle
    return said


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(acts, min_size=1, max_size=4), crowded=st.booleans(), requests=st.sampled_from([3, 256]))
def test_random_scripts(loaded: Loaded, script: list[Act], crowded: bool, requests: int) -> None:
    engines = [loaded.engine(tokens, PAGES[crowded], requests=requests) for tokens in LENGTHS]
    expected, *others = (play(engine, script) for engine in engines)
    for got in others:
        assert got == expected
    counts = [replace(engine.usage) for engine in engines]
    if crowded:  # what is evicted and recomputed depends on when pages are requested
        counts = [(usage.generated_tokens, usage.full_rows) for usage in counts]
    assert all(count == counts[0] for count in counts)


def test_some_end_in_every_round(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Branches that have ended still have rows in a plan that was made ahead."""
    ended = 0
    launch = step_runner.StepRunner.launch_prepared

    def counted(passes: step_runner.StepRunner, *prepared: Any) -> step_runner.Flight | None:
        nonlocal ended
        flight = launch(passes, *prepared)
        ended += sum(reader.request.finished for reader in flight.readers) if flight is not None else 0
        return flight

    monkeypatch.setattr(step_runner.StepRunner, "launch_prepared", counted)
    way = Sampling(50.0, top_k=0, top_p=1.0, max_tokens=40, stop_token_ids=tuple(range(3, 10)), ignore_eos=True)
    families = []
    for tokens in LENGTHS:
        engine = loaded.engine(tokens)
        families.append([told(child) for child in engine.expand(engine.prefill(PROMPT), 8, way)])
    assert all(family == families[0] for family in families)
    assert (ended > 0) == (loaded.decoder.kernels.tiling(14, 2) is not None)


@pytest.mark.parametrize(
    "strategy",
    [
        MCTS(rollouts=4, max_rollout_tokens=40, action="mini-step-8"),
        MCTS(rollouts=3, max_rollout_tokens=30, action="step", sampling=Sampling(temperature=2.0)),
        Beam(beams=2, samples=3, rollouts=4, max_rollout_tokens=40, action="mini-step-20"),
        BestOfN(rollouts=6, max_rollout_tokens=50),
    ],
    ids=["mcts", "mcts-steps", "beam", "best-of-n"],
)
def test_searches(loaded: Loaded, strategy: Any) -> None:
    questions = ["How many?", "小明有三个苹果", "And in May?"]
    results = [
        [replace(result, stats=None) for result in loaded.engine(tokens).search(questions[:1], strategy)]
        for tokens in LENGTHS
    ]
    assert all(result == results[0] for result in results)
