"""`make bench` on any checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from marcot.engine import Engine
from safetensors.torch import load_file
from support.checkpoints.tiny_gguf import convert

from bench.common.machine import Machine
from bench.cpu import tree_decode

MACHINE = Machine("a processor", threads=1, load=0.0, versions={}, read_bandwidth=1e9, gemm_flops=1e9)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_decode, "PREFIX_TOKENS", 37)
    monkeypatch.setattr(tree_decode, "measure_machine", lambda: MACHINE)


def test_a_folder_is_timed(tiny_checkpoint: Callable[..., Path]) -> None:
    folder = tiny_checkpoint("qwen2", num_hidden_layers=1)
    columns = tree_decode.speed_table(str(folder), (1, 3), MACHINE).columns
    for branches, tree, copies, theirs, to_copies, to_theirs, share in zip(
        *(column.cells for column in columns), strict=True
    ):
        assert branches in ("1", "3")
        assert float(to_copies[:-1]) == pytest.approx(float(tree) / float(copies), abs=0.006)
        assert float(to_theirs[:-1]) == pytest.approx(float(tree) / float(theirs), abs=0.006)
        assert int(share[:-1]) >= 0


def test_models_that_transformers_cannot_load(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    file = convert(tiny_checkpoint("qwen2", num_hidden_layers=1), tmp_path / "no-tokenizer.gguf")
    table = tree_decode.speed_table(str(file), (2,), MACHINE)
    [(_, _, copies, theirs, to_copies, to_theirs, _)] = zip(*(column.cells for column in table.columns), strict=True)
    assert (theirs, to_theirs) == ("-", "-")
    assert "-" not in (copies, to_copies)
    assert f"{file}: transformers cannot load it: " in str(table.caption)


def test_the_limit_is_the_slower_of_reading_and_computing(tiny_checkpoint: Callable[..., Path]) -> None:
    folder, branches = tiny_checkpoint("qwen2-untied", num_hidden_layers=1), 5
    engine = Engine.load(str(folder), dtype="float32", compute="exact", kv_tokens=512)

    def least(read_bandwidth: float, gemm_flops: float) -> float:
        machine = MACHINE._replace(read_bandwidth=read_bandwidth, gemm_flops=gemm_flops)
        return tree_decode._least_seconds(engine, branches, machine)

    reading, computing = least(1.0, 1e30), least(1e30, 1.0)
    assert least(1.0, 1.0) == max(reading, computing)
    assert least(2.0, 1e30) == reading / 2
    tensors = load_file(folder / "model.safetensors")
    weights = sum(each.numel() for name, each in tensors.items() if each.dim() == 2 and "embed" not in name)
    assert computing > 2 * branches * weights, "every weight for each row, and attention"
    assert reading > 4 * weights, "fp32, and cached tokens"


def test_there_is_no_such_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(typer.Exit) as ended:
        tree_decode.bench(str(tmp_path / "nowhere"), [1])
    assert ended.value.exit_code != 0
    assert f"error: no model called '{tmp_path}/nowhere'" in capsys.readouterr().err
