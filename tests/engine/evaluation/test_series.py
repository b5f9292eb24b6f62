"""The results files of an evaluation, also damaged ones and those of earlier versions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import InputError
from marcot.engine.evaluation import Report, Series, Trial, read_series
from marcot.engine.search import MCTS
from support.searches.trials import searched, series, trial

SETTINGS = {"data": "toy", "model": "/some/where/tiny", "answer_rule": "majority", "seed": 1}


def line(entry: Trial | str, label: str = "a", **changed: Any) -> str:
    head = {"label": label, "settings": SETTINGS | changed}
    if isinstance(entry, str):
        return json.dumps({"index": 0, "question": entry, "error": "too long", **head}) + "\n"
    return json.dumps(head | entry.to_object()) + "\n"


def test_a_trial_survives_json() -> None:
    result = searched(MCTS(action="mini-step-3", rollouts=5, max_rollout_tokens=20))
    before = Trial.of(3, "toy:4:ab", "So 8 + 1 = 9.\n#### 9", result, 1.25)
    text = json.dumps(before.to_object())
    assert Trial.from_object(json.loads(text)) == before
    assert before.reference == "9"
    assert before.tokens == sum(node.tokens for node in result.tree)


def test_a_value_that_is_not_a_number_is_null_in_json() -> None:
    entry = trial(0, ["1"]).to_object()
    entry["value"] = entry["rollouts"]["value"][0] = None
    read = Trial.from_object(entry)
    assert math.isnan(read.value)
    assert math.isnan(read.rollouts[0].value)


def test_counts() -> None:
    found = series("s", [trial(0, ["1", "2"]), trial(1, ["2", "1", "1"]), trial(2, ["2"]), trial(3, ["1.0"])])
    assert (found.right, found.accuracy) == (2, 0.5)
    assert found.pass_at_1 == pytest.approx((1 / 2 + 2 / 3 + 0 + 1) / 4)
    assert found.pass_at_k == 0.75
    assert found.rollouts == 7 / 4
    assert found.tokens == (20 + 30 + 10 + 10) / 4
    assert found.seconds == 2.0


def test_chains_that_were_cut_short_count_only_if_all_were() -> None:
    whole = trial(0, ["2", "1", "1"])
    cut = replace(
        whole, rollouts=(whole.rollouts[0], *(replace(each, finish_reason="length") for each in whole.rollouts[1:]))
    )
    all_cut = replace(whole, rollouts=tuple(replace(each, finish_reason="cancelled") for each in whole.rollouts))
    for each, one, any_right, count in ((whole, 2 / 3, 1, 3), (cut, 0, 0, 1), (all_cut, 2 / 3, 1, 3)):
        found = series("s", [each])
        assert (found.pass_at_1, found.pass_at_k, found.rollouts) == (pytest.approx(one), any_right, count)
        assert found.point(30).any_right == any_right


def test_pairs_are_of_questions_that_both_have() -> None:
    one = series("one", [trial(0, ["1"]), trial(1, ["2"]), trial(2, ["1"])])
    other = series("other", [trial(1, ["1"]), trial(2, ["1"]), trial(3, ["1"])])
    assert one.pairs(other) == (1, 1, 0, 0)
    assert other.pairs(one) == (1, 0, 1, 0)
    assert one.pairs(other, 5) == (0, 0, 0, 2)


def test_lines_of_the_same_settings_are_one_series(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "1.jsonl").write_text(line(trial(0, ["1"])) + line(trial(1, ["2"])))
    (folder / "2.jsonl").write_text(line(trial(2, ["1"])) + line(trial(1, ["1"])))
    (folder / "report.json").write_text("{}\n")
    (tmp_path / "other.jsonl").write_text(line(trial(0, ["2"]), "b", seed=2))
    one, other = read_series([folder, tmp_path / "other.jsonl"])
    assert (one.label, one.model, one.data, len(one.trials), one.right) == ("a", "tiny", "toy", 3, 3)
    assert (other.label, other.right) == ("b", 0)


def test_failures_count_until_a_result_follows(tmp_path: Path) -> None:
    first, second = trial(0, ["1"]), trial(1, ["1"])
    (tmp_path / "r.jsonl").write_text(line(first.question) + line(second.question) + line(first))
    [found] = read_series([tmp_path])
    assert (len(found.trials), found.failed) == (1, 1)


def test_failures_of_other_questions_are_not_counted_in_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    failed = [line(f"toy:{at + 1}:00").replace('"index": 0', f'"index": {at}') for at in (1, 2)]
    path.write_text(line(trial(0, ["1"])) + "".join(failed))
    [found] = read_series([path])
    assert (found.failed, found.numbered({1, 3}).failed, found.only(["toy:2:00"]).failed) == (2, 1, 1)
    assert found.only(["toy:1:00"]).failed == 0


def test_lines_from_before_an_option_existed_belong_to_the_same_series(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    new = {"lead": 0, "greedy_first": False, "prune": 0.0}
    path.write_text(line(trial(0, ["1"])) + line(trial(1, ["1"]), **new) + line(trial(2, ["1"]), lead=2))
    assert [len(each.trials) for each in read_series([path])] == [2, 1]


def test_a_last_line_that_an_editor_left_without_a_line_feed_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text((line(trial(0, ["1"])) + line(trial(1, ["1"])))[:-1])
    [found] = read_series([path])
    assert len(found.trials) == 2


def test_a_last_line_may_be_torn_inside_a_character(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    torn = line("你").encode().replace(b"\\u4f60", "你".encode())
    path.write_bytes(line(trial(0, ["1"])).encode() + torn[: torn.index("你".encode()) + 1])
    [found] = read_series([path])
    assert len(found.trials) == 1


def test_a_torn_last_line_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(line(trial(0, ["1"])) + line(trial(1, ["1"]))[:50])
    [found] = read_series([tmp_path])
    assert list(found.trials) == ["toy:1:00"]


@pytest.mark.parametrize("text", ["{}\n", "[1]\n", "no JSON\n", '{"label": "a", "settings": {}, "question": "q"}\n'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.jsonl").write_text(line(trial(0, ["1"])) + text)
    with pytest.raises(InputError, match=r"r\.jsonl, line 2: is not a result of marcot eval"):
        read_series([tmp_path])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_series([tmp_path / "no.jsonl"])


def test_a_line_without_its_rollouts_is_refused(tmp_path: Path) -> None:
    entry = json.loads(line(trial(0, ["1"])))
    del entry["rollouts"]["spent"]
    (tmp_path / "r.jsonl").write_text(json.dumps(entry) + "\n")
    with pytest.raises(InputError, match="line 1: is not a result of marcot eval"):
        read_series([tmp_path])


ODD = (None, [], {}, "x", -1, 1e300, [[]], [{}], [None, 5], [None, 1], "[" * 9)


@pytest.mark.parametrize(
    "name", ["index", "question", "reference", "answer", "tokens", "seconds", "rollouts", "parents"]
)
def test_a_line_with_something_odd_in_it_is_read_or_refused(tmp_path: Path, name: str) -> None:
    whole = json.loads(line(trial(0, ["1", "2"])))
    changed = [whole | {name: odd} for odd in ODD]
    if name == "rollouts":
        changed += [whole | {name: whole[name] | {column: odd}} for column in whole[name] for odd in (*ODD, ["x", -1])]
    refused = 0
    for entry in changed:
        (tmp_path / "a.jsonl").write_text(json.dumps(entry) + "\n")
        try:
            [found] = read_series([tmp_path / "a.jsonl"])
        except InputError:
            refused += 1
        else:
            Report.of([found]).markdown()
    assert refused >= 5


@pytest.mark.parametrize("name", ["label", "settings", "data", "model", "answer_rule"])
def test_a_head_of_another_type_is_refused(tmp_path: Path, name: str) -> None:
    for odd in (None, [], {}, 5):
        entry = json.loads(line(trial(0, ["1"])))
        (entry if name in entry else entry["settings"])[name] = odd
        (tmp_path / "a.jsonl").write_text(json.dumps(entry) + "\n")
        with pytest.raises(InputError, match="line 1: is not a result of marcot eval"):
            read_series([tmp_path / "a.jsonl"])


def test_invalid_lines_are_named(tmp_path: Path) -> None:
    entry = json.loads(line(trial(0, ["1", "2"])))
    entry["rollouts"]["leaf"][1] = 7
    (tmp_path / "a.jsonl").write_text(json.dumps(entry) + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: is not .*: rollouts\.leaf is \[1, 7\]: must be a list of"):
        read_series([tmp_path / "a.jsonl"])


def test_a_file_does_not_choose_what_is_run(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(trial(0, ["1"]), answer_rule="a_module_of_theirs:rule"))
    with pytest.raises(
        InputError, match=r"line 1: was made by .*, which is not one of marcot's; the command that made"
    ):
        read_series([tmp_path / "a.jsonl"])
    for rules in (["a_module_of_theirs:rule"], None):
        assert len(read_series([tmp_path / "a.jsonl"], rules)) == 1


def test_a_part_of_a_series() -> None:
    whole: Series = series("s", [trial(index, ["1"]) for index in range(5)])
    assert list(whole.numbered({2, 4, 9}).trials) == ["toy:2:00", "toy:4:00"]
    assert list(whole.only(["toy:5:00", "nothing"]).trials) == ["toy:5:00"]
    assert replace(whole, label="t").trials == whole.trials
