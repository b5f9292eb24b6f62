"""`marcot bench`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine import Engine
from marcot.engine.errors import InputError
from marcot.engine.speed import TreeShape, read_tree_shape, time_decode

SMALL = ("--tokens", 3, "--prefix", "20,37", "--branches", "1,4", "--prefill", 33, "--repeat", 2, "--kv-tokens", 2048)


def test_json_has_every_workload_with_hardware_and_versions(marcot: Callable, mute: Path, tmp_path: Path) -> None:
    file = tmp_path / "tree.json"
    file.write_text(json.dumps({"parents": [None, 0, 0, 1], "tokens": [18, 5, 7, 2]}))
    ended = marcot("bench", "--model", mute, *SMALL, "--tree", file, "--json")
    assert ended.code == 0
    [report] = ended.objects
    assert (report["architecture"], report["layers"], report["compute"]) == ("qwen2", 1, "exact")
    assert {"device", "threads", "load", "marcot", "torch", "python"} <= report.keys()
    works = [(each["what"], each["detail"], each["tokens"]) for each in report["timings"]]
    assert works == [
        ("prefill", "33 tokens", [33, 33]),
        ("decode", "prefix of 20, 1 branch", [3, 3]),
        ("decode", "prefix of 20, 4 branches", [12, 12]),
        ("decode", "prefix of 37, 1 branch", [3, 3]),
        ("decode", "prefix of 37, 4 branches", [12, 12]),
        ("decode", "tree.json: 4 nodes, 2 leaves", [6, 6]),
    ]
    for each in report["timings"]:
        rates = [tokens / seconds for tokens, seconds in zip(each["tokens"], each["seconds"], strict=True)]
        assert min(rates) * 0.99 <= each["tokens_per_s"] <= max(rates) * 1.01


def test_a_person_sees_a_table_with_the_search(marcot: Callable, talker: Path) -> None:
    ended = marcot(
        "bench", "--model", talker, *SMALL[:2], "--prefix", 20, "--branches", 2, "--rollouts", 1, *SMALL[-4:]
    )
    assert ended.code == 0
    words = [line.split() for line in ended.out.splitlines()]
    assert [line[0] for line in words if len(line) > 3][-3:] == ["prefill", "decode", "search"]
    assert ["architecture", "qwen2"] in words


def test_transformers_does_the_same_work(marcot: Callable, mute: Path) -> None:
    few = ("--prefix", 20, "--branches", 3, "--prefill", 21, "--repeat", 1, "--tokens", 2)
    [report] = marcot("bench", "--model", mute, *few, "--transformers", "--json").objects
    works = [(each["what"], each["detail"], each["tokens"]) for each in report["timings"]]
    assert works[2:] == [(what, f"{detail}, transformers", tokens) for what, detail, tokens in works[:2]]


def test_what_is_timed_is_decoding_and_no_prefill(mute: Path) -> None:
    """Three runs of two leaves with two branches each, which draw one token more than there are steps."""
    engine = Engine.load(str(mute), kv_tokens=2048)
    timing = time_decode(engine, TreeShape((-1, 0, 0), (18, 5, 7), branches=2), tokens=6, repeat=2, detail="")
    assert timing.tokens == (24, 24)
    assert (engine.usage.prefill_tokens, engine.usage.generated_tokens) == (18 + 5 + 7, 3 * 4 * 7)
    engine.tree.check_integrity()


BAD = {
    "no numbers": (("--branches", "1,x"), "--branches 1,x: must be whole numbers"),
    "zero": (("--prefix", "0"), "--prefix 0: must be whole numbers"),
    "nothing": (("--prefill", ""), "--prefill : must be whole numbers"),
    "far too many": (("--branches", "9" * 30), "must be whole numbers above 0"),
    "no such file": (("--tree", "nowhere.json"), "nowhere.json"),
    "beyond the context": (("--prefix", "5000"), "the model's context is 4096"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input(marcot: Callable, mute: Path, arguments: tuple[str, ...], message: str) -> None:
    ended = marcot("bench", "--model", mute, *SMALL, *arguments)
    assert ended.code != 0
    assert message in ended.err


TREES = {
    "a parent that comes later": {"parents": [None, 2, 0], "tokens": [1, 1, 1]},
    "its own parent": {"parents": [0], "tokens": [1]},
    "lengths differ": {"parents": [None, 0], "tokens": [3]},
    "no nodes": {"parents": [], "tokens": []},
    "no tokens": {"parents": [None], "tokens": [0]},
    "no list": {"parents": 3, "tokens": [1]},
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())
def test_a_file_that_describes_no_tree(tree: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "tree.json").write_text(json.dumps(tree))
    with pytest.raises(InputError, match=r"tree\.json: "):
        read_tree_shape(tmp_path / "tree.json")
