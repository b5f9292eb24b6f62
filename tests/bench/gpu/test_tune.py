"""`make gpu-tune`, with stand-ins for the GPU and its kernels."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import torch
from marcot.kernels import Kernels
from marcot.kernels.triton.arch import INTERPRETED
from marcot.kernels.triton.op_set import TritonKernels
from marcot.kernels.triton.tuning import TunedShape, TuningTable, load_tuning
from support.kernels.gpu_samples import TINY

from bench.gpu import tune
from bench.gpu.trees import PagedTree
from bench.gpu.tune import OPS, Measured, fastest, shapes_of, write_table
from bench.gpu.tuning import tunable_attention, tunable_head, tunable_linear
from bench.gpu.tuning.trials import Trial, answer, difference, failures
from bench.gpu.tuning.tunables import Case, Fields, grid


class Shape(NamedTuple):
    """Stands for the shape of a kernel."""

    tokens: int
    warps: int


def case(rows: int = 8, kind: str = "bf16", columns: int = 64) -> Case:
    """A kernel that multiplies by its number of warps. Its default shape has 4; other numbers give wrong results, and
    16 does not compile.
    """

    def make(device: torch.device) -> Callable[[Any], Callable[[], object]]:
        x = torch.ones(3, device=device)

        def call(kernels: Any) -> Callable[[], object]:
            def run() -> object:
                if kernels.warps == 16:
                    raise ValueError("out of resource: shared memory")
                return x * kernels.warps / 4, torch.tensor(kernels.tokens)

            return run

        return call

    return Case("linear", kind, rows, columns, grid(tokens=(16, 32), warps=(4, 8, 16)), make)


def fake_kernels(one: Case, fields: Fields) -> Any:
    return SimpleNamespace(**(Shape(64, 4)._asdict() | dict(fields)))


def test_every_combination() -> None:
    assert grid(a=(1, 2), b=(3,)) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


@pytest.mark.parametrize(
    ("times", "best", "seconds"),
    [({16: 8.0, 32: 9.0}, 16, 8.0), ({16: 12.0, 32: 11.0}, None, 10.0), ({16: 9.9}, None, 10.0), ({}, None, 10.0)],
    ids=["faster", "slower", "hardly-faster", "nothing-compiles"],
)
def test_a_shape_must_gain_something(times: dict[int, float], best: int | None, seconds: float) -> None:
    found = fastest(case(), [{"tokens": tokens} for tokens in times], lambda one: times[one["tokens"]] if one else 10.0)
    assert (found.fields.get("tokens"), found.seconds, found.own_seconds) == (best, seconds, 10.0)


def test_a_kind_has_entries_for_all_sizes_or_none() -> None:
    gained = Measured(case(16), {"tokens": 16}, 1.0, 2.0)
    same = Measured(case(8), {}, 1.0, 1.0)
    other = Measured(case(8, "fp16"), {}, 1.0, 1.0)
    assert shapes_of([gained, same, other]) == [
        TunedShape("linear", "bf16", 16, 64, {"tokens": 16}),
        TunedShape("linear", "bf16", 8, 64, {}),
    ]


def test_a_table_is_what_launchers_read(tmp_path: Path) -> None:
    measured = [Measured(case(8), {}, 1.0, 1.0), Measured(case(16), {"tokens": 16}, 1.0, 2.0)]
    path = write_table("NVIDIA H200", "sm_90", measured, tmp_path)
    assert path.name == "nvidia_h200.json"
    table = load_tuning("NVIDIA H200", "sm_90", tmp_path)
    assert table.shape("linear", "bf16", 5, 64, Shape(64, 4)) == Shape(64, 4)
    assert table.shape("linear", "bf16", 9, 64, Shape(64, 4)) == Shape(16, 4)


def test_other_kinds_of_a_table_stay(tmp_path: Path) -> None:
    write_table("A card", "sm_90", [Measured(case(8), {"tokens": 16}, 1.0, 2.0)], tmp_path)
    write_table("A card", "sm_90", [Measured(case(8, "fp16"), {"tokens": 32}, 1.0, 2.0)], tmp_path)
    write_table("A card", "sm_90", [Measured(case(8), {}, 2.0, 2.0)], tmp_path)
    assert json.loads((tmp_path / "a_card.json").read_text())["shapes"] == [
        {"op": "linear", "kind": "fp16", "rows": 8, "columns": 64, "fields": {"tokens": 32}}
    ]


def test_trials_are_answered_with_what_is_wrong() -> None:
    cases = [case(), case()]
    lines = [json.dumps(Trial(number, candidate)) for number in (0, 1) for candidate in (0, 1, 2)]
    answers = StringIO()
    answer(cases, fake_kernels, torch.device("cpu"), StringIO("\n".join(lines)), answers)
    right, off, broken, *again = map(json.loads, answers.getvalue().splitlines())
    assert right == ""
    assert off == "off by 1 of the norm"
    assert "out of resource" in broken
    assert len(again) == 3


def test_numbers_that_are_not_finite_are_wrong() -> None:
    one = torch.ones(3)
    assert difference([one], [one]) == ""
    assert difference([one * torch.nan], [one]) == "numbers are not finite"


CHILD = """
import json, os, sys, time
for line in sys.stdin:
    case, candidate = json.loads(line)
    if candidate == 1: os.abort()
    if candidate == 2: time.sleep(60)
    print(json.dumps("does not compile" if candidate == 3 else ""), flush=True)
"""


def test_a_child_that_dies_or_hangs_costs_one_trial() -> None:
    asked = [Trial(case, candidate) for case in range(3) for candidate in range(5)]
    wrong = failures([sys.executable, "-c", CHILD], asked, 2, time.monotonic() + 60, 1.0)
    assert {trial: why for trial, why in wrong.items() if trial.candidate == 3} == {
        Trial(case, 3): "does not compile" for case in range(3)
    }
    assert sorted(trial.candidate for trial in wrong) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_no_trial_begins_too_late() -> None:
    wrong = failures(["/no/such/program"], [Trial(0, 0)], 1, time.monotonic() - 1)
    assert wrong == {Trial(0, 0): "not tried, as no time is left"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.main([]) == 3
    assert capsys.readouterr().err.startswith("gpu-tune: no GPU: ")


def test_from_trials_to_a_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With 16 tokens it takes half the time; the shapes with wrong results would be faster still."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A card")
    monkeypatch.setattr(tune, "detect_arch", lambda device: INTERPRETED)
    monkeypatch.setattr(tune, "OPS", {"linear": lambda arch, folder: [case()]})
    monkeypatch.setattr(tune, "kernels_with", lambda arch, one, fields: fake_kernels(one, fields))
    monkeypatch.setattr(tune, "TUNED_FOLDER", tmp_path)
    monkeypatch.setattr(tune, "write_table", lambda *what: write_table(*what, tmp_path))
    monkeypatch.setattr(tune.torch, "device", lambda name: "cpu")
    clock = SimpleNamespace(seconds=lambda call: float(call()[1]) / 64 / float(call()[0][0]))
    monkeypatch.setattr(tune.ColdClock, "on_device", lambda device: clock)

    def tried(command: list[str], asked: list[Trial], *rest: object) -> dict[Trial, str]:
        return {trial: "wrong" for trial in asked if case().candidates[trial.candidate]["warps"] != 4}

    monkeypatch.setattr(tune, "failures", tried)
    assert tune.main(["--ops", "linear"]) == 0
    [entry] = json.loads((tmp_path / "a_card.json").read_text())["shapes"]
    assert entry["fields"] == {"tokens": 16, "warps": 4}
    assert "linear, bf16, 8 rows, 64 columns" in capsys.readouterr().out


@pytest.mark.parametrize("op", OPS)
def test_cases_are_called_with_the_shapes_that_are_tried(
    op: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher asks for the shape that the case names, and every candidate has the fields of that shape."""
    monkeypatch.setattr(tunable_linear, "_SIZES", ((96, 256),))
    monkeypatch.setattr(tunable_linear, "_ROWS", (8, 32))
    for module in (tunable_head, tunable_linear):
        monkeypatch.setattr(module, "_DTYPE", torch.float16)  # the interpreter has no bf16
    monkeypatch.setattr(tunable_head, "SHAPES", (TINY._replace(vocab=130),))
    monkeypatch.setattr(tunable_head, "blocks_of_rows", lambda *_: (16,))
    monkeypatch.setattr(tunable_head, "_BLOCKS", 1)
    monkeypatch.setattr(tunable_head, "_TOP_K", 3)
    monkeypatch.setattr(tunable_attention, "SHAPES", (TINY,))
    monkeypatch.setattr(tunable_attention, "_trees", lambda rows: [PagedTree("a page", [None], [16])])
    asked: list[tuple[str, str, int, int]] = []

    class Table(TuningTable):
        def shape(self, op: str, kind: str, rows: int, columns: int, default: Any) -> Any:
            asked.append((op, kind, rows, columns))
            assert one.candidates[0].keys() <= set(default._fields)
            return default

    for one in OPS[op](INTERPRETED, tmp_path):
        arch = INTERPRETED._replace(tuning=Table("a card", []))
        one.make(torch.device("cpu"))(cast(Kernels, TritonKernels(arch)))()
        assert set(asked) == {one[:4]}
        asked.clear()
