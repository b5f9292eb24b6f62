"""Compares marcot with other engines at decoding many branches on a CPU, in one run.

Every engine runs in a separate process and computes a prefix of `PREFIX_TOKENS` tokens once. Then it decodes B branches
that continue it, with random draws and the confidence of every token. Speeds count forward passes: a round of n passes
draws n + 1 tokens per branch, the first of them from the prefix's logits, and counts as n. For each B, the rounds of
all engines follow directly one after the other, so that ratios are fair on a machine whose speed drifts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from marcot.model import ModelConfig, load_checkpoint, locate
from pytest_benchmark.fixture import BenchmarkFixture

from ..common.machine import Machine
from ..common.median import median_round
from ..common.prompt import PREFIX_TOKENS
from ..common.recorded_trees import recorded_trees
from ..common.remote import Remote
from .batched_bench import run_batched_bench
from .engine_processes import EngineProcesses, UnavailableError, load
from .lineup import BATCHED_BENCH, FAST, LINEUP, MIDDLE, Contestant
from .other_programs import OtherPrograms
from .results import Measure, Metric, Results
from .step import Step

PROMPTS = (512, 2048)
ROUNDS = 5
PASSES = 16
"""Maximum forward passes of a round."""

ROUND_S = 1.5
"""Target time of a round: slow engines do fewer passes to stay below it, but at least `LEAST_PASSES`."""

LEAST_PASSES = 2
SLOWEST_ROUND_S = 60.0
"""An engine whose shortest round takes longer than this is skipped."""

PREFILL_S = 8.0
"""Target time for measuring the prefill of an engine: long prompts get fewer rounds."""

PROBE_TOKENS = 128
OVERHEAD_BRANCHES = 16
TREE_PASSES = 4
TREES = recorded_trees()
LOAD_ROUNDS = 3

DISTURBING_CORES = 0.1
"""Measurements during which other programs used more processors than this are listed below the table."""

SHORTEST_S = 0.5
"""Shorter measurements are not checked for disturbance: the system counts processor time in hundredths of a second."""

LEAST_BATCHED_PASSES = 8
SLOW_FILE_BYTES = 10**9
"""Larger files get only `FEW_ROUNDS` rounds of `llama-batched-bench`, which recomputes the prompt in every round."""

FEW_ROUNDS = 3


class Model(NamedTuple):
    """A model under test, with its engines."""

    name: str
    path: Path
    config: ModelConfig
    engines: EngineProcesses

    @property
    def bytes(self) -> int:
        """Size of its weights on disk."""
        files = self.path.glob("*.safetensors") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests with the models, branches and engines that the options name."""
    option = metafunc.config.getoption
    batched = Contestant(BATCHED_BENCH, "", ()) if option("batched_bench") else None
    if "contestant" in metafunc.fixturenames:
        chosen = [one for one in LINEUP if one.key in option("contestants").split()]
        chosen += [batched] if batched else []
        metafunc.parametrize("contestant", chosen, ids=[one.key for one in chosen])
    if "branches" in metafunc.fixturenames:
        metafunc.parametrize("branches", [int(count) for count in option("branches").split()])
    if "model" in metafunc.fixturenames:
        metafunc.parametrize("model", option("models").split(), indirect=True, scope="module")


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, machine: Machine, results: Results) -> Iterator[Model]:
    """Provide a model and its engines; end the engines afterwards."""
    path = locate(request.param)
    engines = EngineProcesses(request.param, path, machine.threads, results)
    yield Model(request.param, path, load_checkpoint(path).config, engines)
    engines.close()


@pytest.fixture(autouse=True)
def other_programs(request: pytest.FixtureRequest, model: Model, results: Results) -> Iterator[None]:
    """Record tests during which other programs used the processors."""
    with OtherPrograms(model.engines.processes) as others:
        yield
    if others.cores > DISTURBING_CORES and others.seconds > SHORTEST_S:
        results.disturbed[request.node.name] = others.cores


@pytest.mark.parametrize("tokens", PROMPTS)
def test_prefill(
    model: Model,
    tokens: int,
    contestant: Contestant,
    machine: Machine,
    results: Results,
    benchmark: BenchmarkFixture,
    pytestconfig: pytest.Config,
) -> None:
    """Time computing a prompt that is not cached, up to the logits of the next token."""
    if contestant.name == BATCHED_BENCH:
        command = pytestconfig.getoption("batched_bench")
        arguments = (command, _gguf_file(model), machine.threads, tokens, 1, 1, FEW_ROUNDS)
        run = benchmark.pedantic(run_batched_bench, args=arguments, rounds=1)
        results.add(Measure(model.name, BATCHED_BENCH, "prefill", tokens, run.prefill, run.rounds))
        return
    remote = _remote(model, contestant)
    remote.call("prefill", tokens=PROBE_TOKENS)
    expected = _seconds(remote, "prefill", tokens=PROBE_TOKENS) * tokens / PROBE_TOKENS
    rounds = max(1, min(ROUNDS, int(PREFILL_S / expected)))
    benchmark.pedantic(remote.call, args=("prefill",), kwargs={"tokens": tokens}, rounds=rounds)
    speed = tokens / median_round(benchmark)
    results.add(Measure(model.name, contestant.name, "prefill", tokens, speed, rounds))


def test_decode(
    model: Model,
    branches: int,
    contestant: Contestant,
    machine: Machine,
    results: Results,
    benchmark: BenchmarkFixture,
    pytestconfig: pytest.Config,
) -> None:
    """Time decoding `branches` branches that continue one prefix."""
    if contestant.name == BATCHED_BENCH:
        passes = max(LEAST_BATCHED_PASSES, min(PASSES, PASSES * 16 // branches))
        rounds = FEW_ROUNDS if model.bytes > SLOW_FILE_BYTES else ROUNDS
        command = pytestconfig.getoption("batched_bench")
        arguments = (command, _gguf_file(model), machine.threads, PREFIX_TOKENS, branches, passes, rounds)
        run = benchmark.pedantic(run_batched_bench, args=arguments, rounds=1)
        results.add(Measure(model.name, BATCHED_BENCH, "decode", branches, run.decode, rounds, passes))
        results.add(Measure(model.name, BATCHED_BENCH, "peak memory", 0, run.peak_memory))
        return
    if branches > contestant.most_branches.get(model.name, branches):
        pytest.skip("takes too long")
    remote = _remote(model, contestant)
    remote.call("fork", tokens=PREFIX_TOKENS, branches=branches)
    speed, passes = _time_rounds(remote, branches, benchmark)
    results.add(Measure(model.name, contestant.name, "decode", branches, speed, ROUNDS, passes))
    if contestant.ours:
        facts = remote.call("facts")
        step = Step(model.config, branches, PREFIX_TOKENS, own=passes / 2)
        steps_per_s = speed / branches
        read = step.read_bytes(facts["step_weight_bytes"], facts["kv_token_bytes"]) * steps_per_s
        computed = step.operations() * steps_per_s
        shares: dict[Metric, float] = {
            "bandwidth share": read / machine.read_bandwidth,
            "GEMM share": computed / machine.gemm_flops,
        }
        for metric, share in shares.items():
            results.add(Measure(model.name, contestant.name, metric, branches, share, ROUNDS, passes))
    if contestant.ours and branches == OVERHEAD_BRANCHES:
        share = remote.call("overhead", passes=passes)
        results.add(Measure(model.name, contestant.name, "overhead", branches, share, ROUNDS, passes))


def test_memory(model: Model, contestant: Contestant, results: Results) -> None:
    """Measure peak memory so far and, for marcot, the size of its packed weights relative to the file."""
    if contestant.name == BATCHED_BENCH:
        pytest.skip("measured with each run")
    remote = _remote(model, contestant)
    results.add(Measure(model.name, contestant.name, "peak memory", 0, remote.call("peak_memory")))
    if contestant.ours:
        share = remote.call("facts")["weight_bytes"] / model.bytes
        results.add(Measure(model.name, contestant.name, "weights to file", 0, share))


def test_load_to_first_token(
    model: Model, contestant: Contestant, machine: Machine, results: Results, benchmark: BenchmarkFixture
) -> None:
    """Time from `Engine.load`, and from process start, to the first draw, with the file in the page cache."""
    if not contestant.ours:
        pytest.skip("measured for marcot only")
    _remote(model, contestant)
    loads: list[float] = []

    def run() -> None:
        with Remote(contestant.python, contestant.environment) as remote:
            loading = load(remote, contestant, model.path, machine.threads, results)
            loads.append(loading + _seconds(remote, "first_token", tokens=16))

    benchmark.pedantic(run, rounds=LOAD_ROUNDS)
    medians: dict[Metric, float] = {
        "load to first token": statistics.median(loads),
        "start to first token": median_round(benchmark),
    }
    for metric, seconds in medians.items():
        results.add(Measure(model.name, contestant.name, metric, 0, seconds, LOAD_ROUNDS))


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "shared"])
@pytest.mark.parametrize("number", range(len(TREES)))
def test_recorded_tree(model: Model, number: int, apart: bool, results: Results, benchmark: BenchmarkFixture) -> None:
    """Time decoding at all leaves of a recorded search tree, with shared tokens stored once or with nothing shared."""
    if model.name != MIDDLE:
        pytest.skip(f"the trees were recorded with {MIDDLE}")
    [contestant] = [one for one in LINEUP if one.name == FAST]
    tree = TREES[number]
    remote = _remote(model, contestant)
    remote.call("fork_leaves", paths=tree.paths(apart=apart))
    speed, passes = _time_rounds(remote, len(tree.leaves), benchmark, most_passes=TREE_PASSES)

    def add(metric: Metric, size: int, value: float) -> None:
        results.add(Measure(model.name, FAST, metric, size, value, ROUNDS, passes))

    if apart:
        add("tree apart", number, speed)
        return
    add("tree", number, speed)
    if (separate := results.value(model.name, FAST, "tree apart", number)) is not None:
        add("tree gain", number, speed / separate)
    least, most = (results.value(model.name, FAST, "tree gain", one) for one in (0, len(TREES) - 1))
    if number == len(TREES) - 1 and least is not None and most is not None:
        add("tree growth", 0, most / least)


def _gguf_file(model: Model) -> Path:
    """Return the file of the model; skip the test if it is a folder."""
    if model.path.is_dir():
        pytest.skip("reads GGUF files only")
    return model.path


def _remote(model: Model, contestant: Contestant) -> Remote:
    """Return the loaded engine; skip the test if it is not available."""
    if not contestant.measures(model.name):
        pytest.skip(f"not measured with {model.name}")
    try:
        return model.engines.member(contestant)
    except UnavailableError as error:
        pytest.skip(str(error))


def _time_rounds(
    remote: Remote, branches: int, benchmark: BenchmarkFixture, most_passes: int = PASSES
) -> tuple[float, int]:
    """Return tokens/s over all branches, and passes per round. A short round first warms up and sets the passes."""
    remote.call("start", passes=LEAST_PASSES)
    expected = _seconds(remote, "decode") / LEAST_PASSES
    if expected * LEAST_PASSES > SLOWEST_ROUND_S:
        pytest.skip(f"a round takes {expected * LEAST_PASSES:.0f} s")
    passes = max(LEAST_PASSES, min(most_passes, int(ROUND_S / expected)))
    benchmark.pedantic(remote.call, args=("decode",), setup=lambda: remote.call("start", passes=passes), rounds=ROUNDS)
    return branches * passes / median_round(benchmark), passes


def _seconds(remote: Remote, command: str, **arguments: int) -> float:
    start = time.perf_counter()
    remote.call(command, **arguments)
    return time.perf_counter() - start
