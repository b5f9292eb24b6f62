"""Compares decoding the branches of a tree with the same engine without sharing, and with transformers.

Every contestant draws `NEW_TOKENS` tokens per branch after a shared prefix of `PREFIX_TOKENS` tokens, in fp32, with
the five best log-probabilities of each token. Computing the prefix and copying caches are not timed. The last column
of the table is the speed relative to the limit of the machine: reading the weights and every cached token once per
step at the measured bandwidth, or doing all products at the measured GEMM speed, whichever takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from marcot.engine import Engine
from marcot.model import locate
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..common.median import median_round
from ..common.workload import Workload, all_weights
from .contestants import Contestant, Copies, Transformers, Tree
from .tree_report import Report, Timing

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
BRANCHES = (1, 4, 8, 16)
CONTESTANTS = ("tree", "copies", "transformers")
ROUNDS = 5
KV_TOKENS = 16_384
"""KV capacity: 16 copies of the prefix, and the same again for branches."""


class Loaded(NamedTuple):
    """A model, loaded by marcot and by transformers from the same file."""

    name: str
    weight_bytes: float
    ours: Engine
    theirs: PreTrainedModel


@pytest.fixture(scope="module", params=MODELS)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    """Load one model in marcot and in transformers."""
    path = locate(request.param)
    theirs = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ours = Engine.load(str(path), dtype="float32", compute="exact", kv_tokens=KV_TOKENS)
    return Loaded(request.param, path.stat().st_size / all_weights(ours.config), ours, theirs)


@pytest.mark.parametrize("contestant", CONTESTANTS)
@pytest.mark.parametrize("branches", BRANCHES)
def test_tree_decode(
    loaded: Loaded, branches: int, contestant: str, benchmark: BenchmarkFixture, report: Report
) -> None:
    """Time one round of a contestant."""
    workload = Workload(loaded.ours.config, branches, loaded.weight_bytes)
    contestants: dict[str, Callable[[], Contestant]] = {
        "tree": lambda: Tree(loaded.ours, workload),
        "copies": lambda: Copies(loaded.ours, workload),
        "transformers": lambda: Transformers(loaded.theirs, workload),
    }
    runner = contestants[contestant]()
    benchmark.group = f"{loaded.name}, {branches} branches"
    benchmark.pedantic(runner.decode, setup=runner.setup, rounds=ROUNDS, warmup_rounds=1)
    report.timings.append(Timing(loaded.name, workload, contestant, median_round(benchmark), ROUNDS))
