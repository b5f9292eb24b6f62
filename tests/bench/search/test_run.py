"""A whole run on a tiny model: contestants in child processes, and one that is not available."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from support.programs import stand_in_llama_server

from bench.common.machine import Machine
from bench.common.remote import Remote
from bench.search.lineup import MARCOT
from bench.search.run import NoResultsError, SearchRun
from bench.search.workload import QUICK


def test_contestants_do_the_same_work(tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_SERVER", f"{sys.executable} {stand_in_llama_server.__file__}")
    monkeypatch.setenv("BENCH_PYTHON", "")
    folder = tiny_checkpoint("qwen2", tokenizer=True, vocab_size=2048)
    said: list[str] = []
    machine = Machine("a processor", 1, 0.0, {}, 1e9, 1e9)
    workload = QUICK._replace(rollout_tokens=16, in_flight=(2,), in_flight_s=0.2, rounds=2)
    run = SearchRun(folder, "tiny", machine, workload, said.append)
    results = run.measure(["llama-server"])
    assert [entry.contestant for entry in results.entries] == [MARCOT, "llama-server"]
    for entry in results.entries:
        assert len(entry.seconds) == len(entry.processor_s) == 2
        assert entry.scale == 1
    assert results.entries[1].tables == pytest.approx(1 - results.counts.branches / results.counts.drawn)
    assert results.counts.branches == 4
    assert 0 < results.counts.drawn <= 4 * 16
    assert results.in_flight[0].questions == 2
    assert results.notes == []
    assert [line for line in said if "round 2 of 2" in line]


def test_a_round_with_another_number_of_tokens_does_not_count(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    call, rounds = Remote.call, iter(range(3))

    def short(remote: Remote, command: str, /, **arguments: Any) -> Any:
        found = call(remote, command, **arguments)
        return {**found, "tokens": found["tokens"] - (next(rounds) == 1)} if command == "search" else found

    monkeypatch.setattr(Remote, "call", short)
    folder = tiny_checkpoint("qwen2", tokenizer=True, vocab_size=2048)
    workload = QUICK._replace(rollout_tokens=16, in_flight=(), rounds=3)
    results = SearchRun(folder, "tiny", Machine("a processor", 1, 0.0, {}, 1e9, 1e9), workload, print).measure([])
    drawn = results.counts.drawn
    assert len(results.entries[0].seconds) == 2
    assert results.notes == [f"marcot, round 2 does not count: {drawn - 1} tokens instead of {drawn}"]


def test_a_stopped_run_keeps_what_it_has_timed(tiny_checkpoint: Callable[..., Path]) -> None:
    def say(line: str) -> None:
        if "round 1" in line:
            raise KeyboardInterrupt

    folder = tiny_checkpoint("qwen2", tokenizer=True, vocab_size=2048)
    workload = QUICK._replace(rollout_tokens=16, rounds=2)
    run = SearchRun(folder, "tiny", Machine("a processor", 1, 0.0, {}, 1e9, 1e9), workload, say)
    results = run.measure([])
    assert run.stopped
    assert [(entry.contestant, len(entry.seconds)) for entry in results.entries] == [(MARCOT, 1)]
    assert (results.in_flight, results.time_shares, results.notes) == ([], {}, ["stopped before the end"])


def test_a_run_that_is_stopped_in_its_first_round_has_no_results(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.search.run.OtherPrograms", stop)
    folder = tiny_checkpoint("qwen2", tokenizer=True, vocab_size=2048)
    run = SearchRun(folder, "tiny", Machine("a processor", 1, 0.0, {}, 1e9, 1e9), QUICK, print)
    with pytest.raises(KeyboardInterrupt):
        run.measure([])


def test_without_marcot_there_is_nothing_to_compare_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMA_SERVER", raising=False)
    run = SearchRun(Path("missing"), "tiny", Machine("a processor", 1, 0.0, {}, 1e9, 1e9), QUICK, print)
    with pytest.raises(NoResultsError, match="marcot: load: ModelNotFoundError") as caught:
        run.measure(["llama-server"])
    assert "\n" not in str(caught.value), "no traceback"
    assert run.notes[-1] == "llama-server: set LLAMA_SERVER to its command, flags included"


def test_a_checkpoint_without_a_tokenizer(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("qwen2", num_hidden_layers=1)
    run = SearchRun(folder, "tiny", Machine("a processor", 1, 0.0, {}, 1e9, 1e9), QUICK, print)
    with pytest.raises(NoResultsError, match=r"^marcot: call: InputError: this checkpoint has no tokenizer.*$"):
        run.measure([])
