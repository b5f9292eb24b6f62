"""Merging the results of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import InputError
from marcot.engine.results.merged_results import MergedResults, merge_results
from marcot.engine.results.question_file import InputQuestion
from marcot.engine.results.results_file import ResultsFile

SETTINGS = {"model": "m", "sampling": {"seed": 1}}


def line(index: int, text: str, **more: Any) -> str:
    return json.dumps({"index": index, **more, "question": text, "settings": SETTINGS}, ensure_ascii=False) + "\n"


def files(folder: Path, *contents: str) -> list[Path]:
    paths = [folder / f"part-{number}.jsonl" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content, encoding="utf-8")
    return paths


def test_results_are_in_the_order_of_their_questions_and_each_is_there_once(tmp_path: Path) -> None:
    one, two, three = line(0, "One?", answer="1"), line(1, "小明?", answer="2"), line(2, "Three?", answer="3")
    parts = files(tmp_path, three + one + line(1, "小明?", error="x"), two + three[:-1])
    assert merge_results(parts, tmp_path / "all.jsonl") == MergedResults(3, 0, 2)
    assert (tmp_path / "all.jsonl").read_text(encoding="utf-8") == one + two + three


def test_the_first_of_several_results_counts_and_any_before_an_error(tmp_path: Path) -> None:
    first, second = line(0, "One?", answer="1"), line(0, "One?", answer="2")
    failed = line(0, "One?", error="x")
    for contents, kept, merged in (
        ((first, second), first, MergedResults(1, 0, 1)),
        ((failed, second + first), second, MergedResults(1, 0, 2)),
        ((failed, failed), failed, MergedResults(1, 1, 1)),
    ):
        out = tmp_path / "all.jsonl"
        assert merge_results(files(tmp_path, *contents), out) == merged
        assert out.read_text(encoding="utf-8") == kept


def test_questions_with_ids_are_told_apart_by_them(tmp_path: Path) -> None:
    parts = files(tmp_path, line(0, "One?", id="a") + line(1, "One?", id="b"), line(5, "One?", id="a"))
    assert merge_results(parts, tmp_path / "all.jsonl") == MergedResults(2, 0, 1)


def test_questions_that_no_file_has_are_counted(tmp_path: Path) -> None:
    parts = files(tmp_path, line(5, "Six?") + line(0, "One?"), line(3, "Four?") + line(3, "Another?"))
    assert merge_results(parts, tmp_path / "all.jsonl") == MergedResults(4, 0, 0, missing=3, first_missing=2)


def test_a_file_can_be_merged_onto_itself_and_gone_on_from(tmp_path: Path) -> None:
    [path] = files(tmp_path, line(1, "Two?") + line(0, "One?") + '{"index": 2, "que')
    assert merge_results([path], path) == MergedResults(2, 0, 0)
    assert path.read_text() == line(0, "One?") + line(1, "Two?")
    with ResultsFile(path, SETTINGS) as file:
        assert [file.has(InputQuestion(0, "One?")), file.has(InputQuestion(2, "Three?"))] == [True, False]


def test_a_file_that_a_run_is_writing_to_is_left_as_it_is(tmp_path: Path) -> None:
    [path] = files(tmp_path, line(1, "Two?") + line(0, "One?"))
    with ResultsFile(path, SETTINGS):
        with pytest.raises(InputError, match=r"part-0\.jsonl: a run is writing to it"):
            merge_results([path], path)
        assert merge_results([path], tmp_path / "all.jsonl").questions == 2, "it can be looked at meanwhile"
    assert path.read_text() == line(1, "Two?") + line(0, "One?")


def test_another_strategy_is_named_before_its_parameters(tmp_path: Path) -> None:
    entry = json.loads(line(1, "Two?"))
    other = entry | {"settings": {"model": "m", "exploration": 1.4, "sampling": {"seed": 1}, "strategy": "mcts"}}
    entry["settings"]["strategy"] = "greedy"
    parts = files(tmp_path, json.dumps(entry) + "\n", json.dumps(other) + "\n")
    with pytest.raises(InputError, match=r"strategy = 'mcts', but .* with 'greedy'"):
        merge_results(parts, tmp_path / "all.jsonl")


REFUSED = {
    "something else": ('{"index": 0}\n', "part-0.jsonl, line 1: is not a result of marcot search"),
    "no JSON": ("dear diary\n", "part-0.jsonl, line 1: is not JSON"),
    "other settings": (line(0, "One?").replace('"seed": 1', '"seed": 2'), "made with sampling.seed = 1, but .* with 2"),
    "nothing": ("", "there are no results to merge"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_merged_is_refused_and_nothing_is_written(tmp_path: Path, content: str, message: str) -> None:
    other = line(1, "Two?") if content else ""
    with pytest.raises(InputError, match=message):
        merge_results(files(tmp_path, content, other), tmp_path / "all.jsonl")
    with pytest.raises(InputError, match=r"gone\.jsonl: there is no such file"):
        merge_results([tmp_path / "gone.jsonl"], tmp_path / "all.jsonl")
    assert not (tmp_path / "all.jsonl").exists()
