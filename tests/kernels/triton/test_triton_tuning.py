"""Tables of measured kernel shapes, and which shapes launchers get from them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from marcot.kernels.triton.tuning import (
    TUNED_FOLDER,
    UNTUNED,
    TableError,
    TunedShape,
    TuningTable,
    load_tuning,
    table_name,
)


class Shape(NamedTuple):
    """Stands for the shape of a kernel."""

    outs: int
    warps: int


OWN = Shape(128, 4)


def entry(rows: int, columns: int, **fields: int) -> TunedShape:
    return TunedShape("linear", "bf16", rows, columns, fields)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """`written(name, arch, *shapes)`: a folder of tables that also has this one."""

    def write(card: str, arch: str, *shapes: dict[str, Any]) -> Path:
        content = {"card": card, "arch": arch, "versions": {}, "shapes": shapes}
        (tmp_path / f"{table_name(card)}.json").write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("rows", "columns", "warps"),
    [
        (1, 900, 1),
        (8, 900, 1),
        (9, 900, 2),
        (9, 1999, 2),  # the ratio to 1000 and to 4000 decides
        (9, 2001, 3),
        (9, 99_999, 3),
        (16, 4000, 3),
        (17, 4000, 3),  # more rows than measured
    ],
)
def test_the_nearest_size_is_taken(rows: int, columns: int, warps: int) -> None:
    shapes = [entry(16, 4000, warps=3), entry(8, 1000, warps=1), entry(16, 1000, warps=2)]
    table = TuningTable("a card", shapes)
    assert table.shape("linear", "bf16", rows, columns, OWN) == Shape(128, warps)


def test_what_was_not_measured_is_as_it_was() -> None:
    table = TuningTable("a card", [entry(8, 1000, warps=1)])
    for op, kind in (("linear", "fp16"), ("attention", "bf16")):
        assert table.shape(op, kind, 8, 1000, OWN) is OWN
    assert UNTUNED.shape("linear", "bf16", 8, 1000, OWN) is OWN


def test_a_field_that_the_shape_has_not_is_an_error() -> None:
    table = TuningTable("a card", [entry(8, 1000, warps=1, depth=3)])
    with pytest.raises(TableError, match="a card: linear, bf16: its shape has no depth"):
        table.shape("linear", "bf16", 8, 1000, OWN)


def test_everything_measured_is_listed() -> None:
    few, many = entry(8, 1000, warps=1), entry(64, 1000, warps=8)
    table = TuningTable("a card", [many, few])
    assert table.shapes("linear", "bf16") == (few, many)
    assert table.shapes("linear", "fp16") == ()


def test_another_process_gets_the_same_shapes() -> None:
    table = TuningTable("a card", [entry(8, 1000, warps=1)])
    copy = pickle.loads(pickle.dumps(table))
    assert (copy.card, copy.shapes("linear", "bf16")) == (table.card, table.shapes("linear", "bf16"))


def test_a_card_has_its_own_table_or_that_of_its_architecture(written: Callable[..., Path]) -> None:
    folder = written("NVIDIA H200", "sm_90", entry(8, 1000, warps=1)._asdict())
    written("NVIDIA A100-SXM4-80GB", "sm_80")
    own = load_tuning("NVIDIA H200", "sm_90", folder)
    assert own.shape("linear", "bf16", 8, 1000, OWN) == Shape(128, 1)
    for card in ("NVIDIA H100 80GB HBM3", ""):
        assert load_tuning(card, "sm_90", folder) is own
    assert load_tuning("NVIDIA A100-SXM4-80GB", "sm_80", folder).card == "NVIDIA A100-SXM4-80GB"
    assert load_tuning("NVIDIA B200", "sm_100", folder) is UNTUNED


@pytest.mark.parametrize(
    "shape",
    [
        entry(0, 1000, warps=1)._asdict(),
        entry(8, 1000, warps=-1)._asdict(),
        entry(8, 1000)._asdict() | {"fields": {"warps": "4"}},
        entry(8, 1000)._asdict() | {"fields": {"warps": True}},
        entry(8, 1000)._asdict() | {"op": None},
        {"op": "linear"},
        "linear",
    ],
    ids=["no-rows", "negative", "text", "bool", "no-op", "missing", "no-object"],
)
def test_a_broken_table_is_named(written: Callable[..., Path], shape: Any) -> None:
    folder = written("A card", "sm_90", shape)
    with pytest.raises(TableError, match=r"a_card\.json"):
        load_tuning("A card", "sm_90", folder)


def test_a_size_has_one_shape(written: Callable[..., Path]) -> None:
    same = entry(8, 1000, warps=1)._asdict()
    with pytest.raises(TableError, match="occurs twice"):
        load_tuning("A card", "sm_90", written("A card", "sm_90", same, same))


def test_tables_that_are_shipped_can_be_read() -> None:
    for path in TUNED_FOLDER.glob("*.json"):
        content = json.loads(path.read_text())
        assert path.stem == table_name(content["card"])
        assert load_tuning(content["card"], content["arch"]).card == content["card"]
