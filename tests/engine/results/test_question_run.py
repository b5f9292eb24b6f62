"""Runs of many questions that are interrupted, resumed and sharded."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, Engine, InputError, SearchResult
from marcot.engine.errors import OutputError
from marcot.engine.results import run_statistics
from marcot.engine.results.merged_results import merge_results
from marcot.engine.results.question_run import number_questions
from marcot.engine.results.shard import Shard
from marcot.engine.search.trace import Trace
from marcot.model import PAGE_SIZE

QUICK = MCTS(rollouts=2, max_rollout_tokens=5, action="mini-step-2", width=2)
QUESTIONS = [
    "How many clips?",
    {"question": "How much?", "answer": "12", "id": "b", "source": 3},
    "Why?",
    "When?",
    "Who?",
]


@pytest.fixture
def engine(tiny_checkpoint: Callable[..., Path]) -> Engine:
    return Engine.load(str(tiny_checkpoint("qwen2", tokenizer=True)), kv_tokens=2048)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def searched(entry: dict[str, Any]) -> dict[str, Any]:
    """A result without its cost, which depends on what else ran."""
    return {name: value for name, value in entry.items() if name != "stats"}


def in_order(path: Path) -> list[dict[str, Any]]:
    """The results in a file in the order of their questions."""
    return sorted(map(searched, lines(path)), key=lambda entry: entry["index"])


def test_a_resumed_run_ends_like_an_undisturbed_one(engine: Engine, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    tally = engine.run(QUESTIONS, QUICK, out=whole)
    assert (tally.skipped, tally.finished, tally.failed, tally.rated) == (0, 5, 0, 1)
    with pytest.raises(ZeroDivisionError):
        engine.run(QUESTIONS, QUICK, out=part, show=lambda event: 1 // (event.entry is None))
    assert len(lines(part)) == 1, "what is shown is on the disk already"
    tally = engine.run(QUESTIONS, QUICK, out=part)
    assert (tally.skipped, tally.finished) == (1, 4)

    assert in_order(part) == in_order(whole)
    assert [(entry.get("id"), entry.get("input")) for entry in in_order(whole)][:2] == [
        (None, None),
        ("b", {"answer": "12", "source": 3}),
    ]
    with pytest.raises(InputError, match="was made with other settings"):
        engine.run(QUESTIONS, MCTS(rollouts=3), out=whole)


def test_a_question_that_fails_is_counted_and_the_others_go_on(engine: Engine, tmp_path: Path) -> None:
    tally = engine.run(["One?", "word " * 5000, "Three?"], QUICK, out=tmp_path / "out.jsonl")
    assert (tally.finished, tally.failed) == (2, 1)
    [failed] = [entry for entry in lines(tmp_path / "out.jsonl") if "error" in entry]
    assert failed["index"] == 1


def test_ids_are_told_apart_by_their_type(engine: Engine, tmp_path: Path) -> None:
    asked = [{"question": "Why?", "id": 1}, {"question": "Why?", "id": "1"}]
    engine.run(asked[:1], QUICK, out=tmp_path / "out.jsonl")
    tally = engine.run(asked, QUICK, out=tmp_path / "out.jsonl")
    assert (tally.skipped, tally.finished) == (1, 1)
    assert merge_results([tmp_path / "out.jsonl"], tmp_path / "all.jsonl").questions == 2
    assert [entry["id"] for entry in lines(tmp_path / "all.jsonl")] == [1, "1"]


def test_a_value_that_raises_fails_its_question_alone(engine: Engine, tmp_path: Path) -> None:
    def value(trace: Trace) -> float:
        if "odd" in trace.question:
            raise ZeroDivisionError("no such number")
        return 0.5

    out = tmp_path / "out.jsonl"
    strategy = MCTS(rollouts=2, max_rollout_tokens=5, action="mini-step-2", width=2, value=value)
    tally = engine.run(["One?", "An odd one?", "Three?"], strategy, out=out)
    assert (tally.finished, tally.failed) == (2, 1)
    [failed] = [entry for entry in lines(out) if "error" in entry]
    assert "value" in failed["error"]
    assert "ZeroDivisionError: no such number" in failed["error"]


def test_the_smallest_pool_finds_the_same_and_a_smaller_one_says_so(engine: Engine, tmp_path: Path) -> None:
    folder = engine.settings["model"]
    engine.run(QUESTIONS, QUICK, out=tmp_path / "large.jsonl")
    for pages in range(1, 40):
        small = Engine.load(folder, kv_tokens=pages * PAGE_SIZE)
        tally = small.run(QUESTIONS, QUICK, out=tmp_path / f"{pages}.jsonl")
        small.tree.check_integrity()
        if not tally.failed:
            break
        errors = [entry["error"] for entry in lines(tmp_path / f"{pages}.jsonl") if "error" in entry]
        assert len(errors) == tally.failed
        assert all("KV" in error for error in errors), errors
    assert 1 < pages < 39
    assert in_order(tmp_path / f"{pages}.jsonl") == in_order(tmp_path / "large.jsonl")


def test_statistics_are_lines_that_add_up(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_statistics, "SECONDS_BETWEEN", 0.0)
    engine.run(["Before?"], QUICK)
    engine.run(QUESTIONS, QUICK, out=tmp_path / "out.jsonl", stats_out=tmp_path / "stats.jsonl")
    told = lines(tmp_path / "stats.jsonl")
    assert len(told) > len(QUESTIONS)
    assert [entry["finished"] for entry in told] == sorted(entry["finished"] for entry in told)
    last = told[-1]
    assert (last["finished"], last["open"], last["not_started"]) == (5, 0, 0)
    assert last["tokens"] == sum(entry["stats"]["generated_tokens"] for entry in lines(tmp_path / "out.jsonl"))
    assert 0 < last["hit_rate"] < 1
    assert last["kv_capacity"] == engine.tree.pool.capacity


def test_statistics_never_go_into_another_file(engine: Engine, tmp_path: Path) -> None:
    diary, out, link = tmp_path / "diary.txt", tmp_path / "out.jsonl", tmp_path / "link.jsonl"
    diary.write_text("dear diary")
    link.symlink_to(out)
    with pytest.raises(InputError, match=r"diary\.txt: exists and is not statistics of marcot search"):
        engine.run(["One?"], QUICK, out=out, stats_out=diary)
    for stats in (out, link, tmp_path / "folder" / ".." / "out.jsonl"):
        with pytest.raises(InputError, match="results go there; give --stats-out another file"):
            engine.run(["One?"], QUICK, out=out, stats_out=stats)
    assert diary.read_text() == "dear diary"
    assert not out.exists()
    engine.run(["One?"], QUICK, out=out, stats_out=tmp_path / "stats.jsonl")
    engine.run(["Two?"], QUICK, stats_out=tmp_path / "stats.jsonl")
    assert [entry["finished"] for entry in lines(tmp_path / "stats.jsonl")] == [1, 1]


def test_a_full_disk_keeps_the_results_and_whole_lines(engine: Engine, tmp_path: Path) -> None:
    out, stats = tmp_path / "out.jsonl", tmp_path / "stats.jsonl"
    engine.run(["One?"], QUICK, stats_out=stats)
    before = stats.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))
    try:
        with pytest.raises(OutputError, match=r"stats\.jsonl: File too large; fix this and run the same command again"):
            engine.run(["Two?"], QUICK, stats_out=stats)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stats.read_bytes() == before
    with pytest.raises(OutputError, match="/dev/full: No space left on device"):
        engine.run(["One?"], QUICK, out=out, stats_out="/dev/full")
    assert [entry["question"] for entry in lines(out)] == ["One?"]


def test_what_cannot_be_run_is_refused(engine: Engine, tmp_path: Path) -> None:
    class Growing:
        def grow(self, task: object) -> None: ...

    with pytest.raises(InputError, match="must derive from Strategy"):
        engine.run(["One?"], Growing())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="questions 1 and 3 have the same id 'a'"):
        number_questions([{"question": "One?", "id": "a"}, "Two?", {"question": "Three?", "id": "a"}])
    (tmp_path / "questions.txt").write_text("One?\n")
    with pytest.raises(InputError, match=r"questions.txt': is a file; .* pass Path"):
        engine.run(str(tmp_path / "questions.txt"), QUICK)
    with pytest.raises(InputError, match="questions=7: must be a text"):
        number_questions(7)
    assert [each.text for each in number_questions("One?")] == ["One?"], "not a question for each letter"
    assert [each.id for each in number_questions({"question": "One?", "id": "a"})] == ["a"]
    with pytest.raises(InputError, match=r"question 1: its id 1\.5 must be a text or an integer"):
        number_questions([{"question": "One?", "id": 1.5}])


def test_shards_share_all_questions_between_them() -> None:
    shards = [Shard.parse(f"{number}/3") for number in (1, 2, 3)]
    for index in range(20):
        assert sum(index in shard for shard in shards) == 1
    for text in ("0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1 / 3"):
        with pytest.raises(InputError, match="must be NUMBER/COUNT"):
            Shard.parse(text)


def test_a_result_is_saved_and_loaded(engine: Engine, tmp_path: Path) -> None:
    [result] = engine.search(["How many?"], QUICK)
    assert SearchResult.load(result.save(tmp_path / "one.json")) == result
    assert SearchResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    with pytest.raises(InputError, match=r"give a name that ends in \.json"):
        result.save(tmp_path / "one.txt")
    broken = {**result.to_dict(), "best_path": [99]}
    with pytest.raises(InputError, match="result: best_path"):
        SearchResult.from_dict(broken)
