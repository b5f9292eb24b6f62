"""`marcot merge`: a file of questions is searched in shards, and the results are merged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QUICK = ["--rollouts", 1, "--max-rollout-tokens", 4, "--action", "mini-step-2", "--width", 1]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.csv"
    path.write_text("name,text,answer\n" + "".join(f"n{number},Question {number}?,{number}\n" for number in range(5)))
    return path


def searched(path: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in entry.items() if name != "stats"} for entry in entries]


def test_shards_that_are_merged_are_the_whole(marcot: Callable, talker: Path, questions: Path, tmp_path: Path) -> None:
    fields = ["--input", questions, "--text-field", "text", "--id-field", "name", *QUICK]
    parts = [tmp_path / f"part-{number}.jsonl" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        ended = marcot("search", "-m", talker, *fields, "--shard", f"{number}/2", "--out", part)
        assert ended.code == 0, ended.err
    whole = tmp_path / "whole.jsonl"
    assert marcot("search", "-m", talker, *fields, "--out", whole, "--stats-out", tmp_path / "stats.jsonl").code == 0
    ended = marcot("merge", *parts, "--out", tmp_path / "all.jsonl")
    assert (ended.code, ended.err.split(": ")[-1]) == (0, "5 questions\n")
    assert marcot("merge", parts[1], "--out", tmp_path / "some.jsonl").err.endswith(
        "2 questions, 2 missing before the last one, the first is number 1\n"
    )
    assert searched(tmp_path / "all.jsonl") == sorted(searched(whole), key=lambda entry: entry["index"])
    assert [entry["id"] for entry in searched(tmp_path / "all.jsonl")] == ["n0", "n1", "n2", "n3", "n4"]
    assert json.loads((tmp_path / "stats.jsonl").read_text().splitlines()[-1])["finished"] == 5
    again = marcot("search", "-m", talker, *fields, "--out", tmp_path / "all.jsonl")
    assert (again.code, again.err.startswith("5 of 5 questions are already in")) == (0, True)


def test_replicas_write_what_one_engine_writes(marcot: Callable, talker: Path, questions: Path, tmp_path: Path) -> None:
    fields = ["-m", talker, "--device", "cpu", "--input", questions, "--text-field", "text", *QUICK]
    for replicas in (1, 2):
        ended = marcot("search", *fields, "--replicas", replicas, "--out", tmp_path / f"{replicas}.jsonl")
        assert ended.code == 0, ended.err
    one, two = (
        sorted(searched(tmp_path / f"{replicas}.jsonl"), key=lambda entry: entry["index"]) for replicas in (1, 2)
    )
    assert one == two


def test_without_ray_an_error_says_what_to_install(
    marcot: Callable, talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "marcot.engine.replicas.ray_pool", raising=False)
    ended = marcot("search", "-m", talker, "How?", "--ray", "local")
    assert (ended.code, ended.err) == (2, "error: Ray is not installed: pip install 'marcot[ray]'\n")


def test_bad_input(marcot: Callable, talker: Path, questions: Path, tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("dear diary")
    for arguments, message in (
        (["merge", diary, "--out", tmp_path / "all.jsonl"], "line 1: is not JSON"),
        (["merge", diary, "--out", diary], "exists and is not a results file of marcot search"),
        (["search", "-m", talker, "How?", "--shard", "1/2"], "--shard 1/2: needs --input FILE"),
        (["search", "-m", talker, "--input", questions, "--shard", "3/2"], "must be NUMBER/COUNT"),
        (["search", "-m", talker, "How?", "--replicas", "2", "--device", "cuda:0"], "name a device for each"),
        (["search", "-m", talker, "How?", "--replicas", "3", "--device", "cpu,cpu"], "--device names 2"),
        (["search", "-m", talker, "--input", questions], 'must have a text under "question"'),
    ):
        ended = marcot(*arguments)
        assert (ended.code, message in ended.err) == (2, True), ended.err
    assert diary.read_text() == "dear diary"


def test_a_shard_without_questions_is_done_at_once(
    marcot: Callable, talker: Path, questions: Path, tmp_path: Path
) -> None:
    fields = ["--input", questions, "--text-field", "text", "--shard", "9/9", "--out", tmp_path / "part.jsonl"]
    ended = marcot("search", "-m", talker, *fields)
    assert (ended.code, ended.err) == (0, "--shard 9/9: none of the questions are in it, so there is nothing to do\n")
