"""Whole data sets: records, splits, limits and the data card."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine import InputError
from marcot.engine.dataset import DatasetBuilder, DatasetOptions
from marcot.engine.dataset.features import FEATURES
from marcot.engine.dataset.split import assign_split, question_id
from support.searches.dataset_runs import contents, encode, make, searches
from support.searches.finished_searches import Told, read_lines, result_line, write_lines


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [
        record for split in ("train", "validation", "test") for record in read_lines(folder / kind / f"{split}.jsonl")
    ]


def test_sft_records_are_conversations_of_right_answers(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "out")
    made = records(tmp_path / "out", "sft")
    by_question: dict[str, list[str]] = {}
    for record in made:
        assert [message["role"] for message in record["messages"]] == ["user", "assistant"]
        by_question.setdefault(record["messages"][0]["content"], []).append(record["grade"])
    assert len(by_question) == 40
    for question, grades in by_question.items():
        number = int(question.removesuffix("?").split()[-1])
        assert grades == (["right", "right"] if number % 2 else ["unknown"] * 3)


def test_the_form_of_marco(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "out", DatasetOptions(kinds=("sft", "pairs"), form="thought-output"))
    text = next(
        record["messages"][1]["content"] for record in records(tmp_path / "out", "sft") if record["value"] == 0.8
    )
    assert text.startswith("<Thought>\nLena has ")
    assert text.endswith("\n</Output>")
    for pair in records(tmp_path / "out", "pairs"):
        assert pair["chosen"][0]["content"].startswith("<Thought>\n")
        assert pair["shared_characters"] > len("<Thought>\n")


def test_a_system_message_comes_first(tmp_path: Path) -> None:
    entry = result_line(
        "Q?", [Told(("Because I said so, ", "it is 5."), "5")], settings={"model": "m", "system": "Short."}
    )
    make([write_lines(tmp_path / "r.jsonl", [entry])], tmp_path / "out")
    (record,) = records(tmp_path / "out", "sft")
    assert record["messages"][0] == {"role": "system", "content": "Short."}


def test_step_records_label_what_can_still_be_right(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "out", DatasetOptions(kinds=("steps",)))
    for record in records(tmp_path / "out", "steps"):
        steps = len(record["completions"])
        assert all(len(record[name]) == steps == 2 for name in ("labels", "values", "visits", "successes"))
        if record["labelled_by"] == "reference":
            assert record["labels"] == [count > 0 for count in record["successes"]]
            wrong = record["completions"][1].startswith("So it is only")
            assert record["labels"] == [True, not wrong]
        else:
            # The mean of 0.8, 0.95, 0.7 and 0.1 is 0.6375; the three traces through the shared step have 0.617.
            assert record["labels"] == [value >= 0.6375 for value in record["values"]]
            assert record["successes"] == [-1, -1]


def test_pairs_part_where_they_say(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "out", DatasetOptions(kinds=("pairs",)))
    pairs = records(tmp_path / "out", "pairs")
    assert {pair["chosen_by"] for pair in pairs} == {"reference", "value"}
    for pair in pairs:
        assert [message["role"] for message in pair["prompt"]] == ["user"]
        (chosen,), (rejected,) = pair["chosen"], pair["rejected"]
        at = pair["shared_characters"]
        assert chosen["content"][:at] == rejected["content"][:at]
        assert chosen["content"][at] != rejected["content"][at]
        tokens = [encode(text["content"]) for text in (chosen, rejected)]
        at = pair["shared_tokens"]
        assert tokens[0][:at] == tokens[1][:at]
        assert tokens[0][at] != tokens[1][at]


def test_without_a_tokenizer_tokens_are_left_out_and_the_card_says_so(results: Path, tmp_path: Path) -> None:
    DatasetBuilder([results], tmp_path / "out", DatasetOptions()).run()
    assert {pair["shared_tokens"] for pair in records(tmp_path / "out", "pairs")} == {-1}
    assert "There was no tokenizer at hand" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_no_question_is_in_two_splits_whatever_its_case_and_file(tmp_path: Path) -> None:
    entries = searches(60)
    shouted = [entry | {"question": entry["question"].upper().replace(" ", "  ")} for entry in entries]
    one, two = write_lines(tmp_path / "a.jsonl", entries), write_lines(tmp_path / "b.jsonl", shouted)
    options = DatasetOptions(validation=0.3, test=0.2, per_question=10, max_similarity=1.1)
    make([one, two], tmp_path / "out", options)
    for kind in ("sft", "steps", "pairs"):
        splits = {
            split: {record["question_id"] for record in read_lines(tmp_path / "out" / kind / f"{split}.jsonl")}
            for split in ("train", "validation", "test")
        }
        assert all(splits.values())
        assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 60
    # The second file has the same texts as the first.
    assert len(records(tmp_path / "out", "sft")) == 30 * 2 + 30 * 3


@given(st.text(min_size=1), st.integers(0, 3))
def test_a_split_depends_on_the_question_alone(question: str, seed: int) -> None:
    id = question_id(question)
    assert id == question_id(f"  {question}\n")
    smaller, larger = (assign_split(id, validation=share, test=0.0, seed=seed) for share in (0.2, 0.5))
    assert (smaller, larger) != ("validation", "train"), "what is held out stays held out when more is"


def test_shares_of_splits_are_about_right() -> None:
    splits = [assign_split(question_id(f"{n}"), validation=0.2, test=0.1, seed=0) for n in range(4000)]
    # Four standard deviations.
    assert splits.count("validation") / 4000 == pytest.approx(0.2, abs=0.026)
    assert splits.count("test") / 4000 == pytest.approx(0.1, abs=0.02)


def test_limits_keep_the_best(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "out", DatasetOptions(per_question=1, pairs_per_question=1))
    sft = records(tmp_path / "out", "sft")
    assert len(sft) == 40
    assert {(record["grade"], record["value"]) for record in sft} == {("right", 0.8), ("unknown", 0.95)}


def test_duplicates_across_questions_are_kept_once(tmp_path: Path) -> None:
    told = [Told(("I am sorry, but I really cannot say ", "anything at all about that."), "that")]
    path = write_lines(tmp_path / "r.jsonl", [result_line(f"Question {n}?", told) for n in range(9)])
    make([path], tmp_path / "out")
    assert len(records(tmp_path / "out", "sft")) == 1
    tally = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["tally"]
    assert tally["dropped"]["exact duplicate"] == 8


def test_every_trace_is_accounted_for(results: Path, marco_samples: Path, tmp_path: Path) -> None:
    make([results, marco_samples], tmp_path / "out", DatasetOptions(per_question=2))
    tally = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["tally"]
    assert tally["passed"]["traces"] == 40 * 4 + 125
    assert tally["passed"]["traces"] == sum(tally["dropped"].values()) + len(records(tmp_path / "out", "sft"))
    for key, count in tally["records"].items():
        assert len(read_lines(tmp_path / "out" / f"{key}.jsonl")) == count
    tokens = sum(len(encode(record["messages"][-1]["content"])) for record in records(tmp_path / "out", "sft"))
    assert sum(count for key, count in tally["tokens"].items() if key.startswith("sft/")) == tokens
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"| complete | heuristic | The model ended the text itself | {tally['dropped']['complete']} |" in card
    assert hashlib.sha256(marco_samples.read_bytes()).hexdigest() in card


def test_what_the_card_and_llama_factory_are_told_is_there(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    named = [line.split()[-1] for line in card.split("---")[1].splitlines() if line.strip().startswith("path:")]
    entries = json.loads((tmp_path / "out" / "dataset_info.json").read_text(encoding="utf-8"))
    named += [entry["file_name"] for entry in entries.values()]
    made = {name for name in contents(tmp_path / "out") if name.endswith(".jsonl")}
    assert set(named) == made
    assert entries["sft_train"]["columns"] == {"messages": "messages"}


def test_records_have_the_fields_that_the_card_declares(results: Path, marco_samples: Path, tmp_path: Path) -> None:
    make([results, marco_samples], tmp_path / "out")
    types: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "float64": (float, NoneType),
        "int64": int,
        "bool": bool,
    }
    for kind, features in FEATURES.items():
        for record in records(tmp_path / "out", kind):
            assert list(record) == list(features)
            for name, type in features.items():
                if not isinstance(type, str):
                    assert all(list(each) == list(type) for each in record[name])
                elif type.startswith("list of "):
                    assert all(isinstance(each, types[type.removeprefix("list of ")]) for each in record[name])
                else:
                    assert isinstance(record[name], types[type])


def test_marco_samples_that_fall_out(marco_samples: Path, tmp_path: Path) -> None:
    make([marco_samples], tmp_path / "out", DatasetOptions(kinds=("sft",)))
    samples = json.loads(marco_samples.read_text(encoding="utf-8"))
    kept = {record["messages"][1]["content"] for record in records(tmp_path / "out", "sft")}
    for sample in samples:
        text = sample["response"].strip()
        if text in kept:
            assert "\ufffd" not in text
            assert text.startswith("<Thought>")
            assert text.endswith("</Output>")
    dropped = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["tally"]["dropped"]
    assert dropped["readable"] >= sum("\ufffd" in sample["response"] for sample in samples) - dropped["well-formed"] > 0
    assert len(kept) == 125 - sum(dropped.values())


def test_the_same_bytes_every_time(results: Path, marco_samples: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    once = make([results, marco_samples], tmp_path / "a" / "data")
    again = make([results, marco_samples], tmp_path / "b" / "data", checkpoint_seconds=0)
    assert once == again
    assert not (tmp_path / "a" / "data.partial").exists()


def test_a_finished_folder_is_left_alone(results: Path, tmp_path: Path) -> None:
    made = make([results], tmp_path / "data")
    again = DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode).run()
    assert again.was_there
    assert contents(tmp_path / "data") == made
    with pytest.raises(InputError, match="was made with other options, sources or tokenizer"):
        DatasetBuilder([results], tmp_path / "data", DatasetOptions(seed=1), encode).run()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="is not a data set of marcot"):
        DatasetBuilder([results], tmp_path / "mine", DatasetOptions(), encode).run()


def test_a_data_set_of_a_version_that_did_not_name_the_tokenizer_is_finished(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "data")
    assert DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode, tokenizer="one").run().was_there


@pytest.mark.parametrize(
    "summary", ["[]", "{}", '{"questions": 1}', "[" * 100_000], ids=["list", "empty", "part", "deep"]
)
def test_a_folder_with_another_summary_is_not_a_data_set(results: Path, tmp_path: Path, summary: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text(summary)
    with pytest.raises(InputError, match="already exists and is not a data set of marcot"):
        make([results], tmp_path / "data")


def test_bad_entries_are_counted_if_that_is_wanted(results: Path, tmp_path: Path) -> None:
    with results.open("a") as file:
        file.write('{"question": 3}\nnonsense\n{"index": 9, "question": "Q?", "error": "too long", "settings": {}}\n')
    with pytest.raises(InputError, match="line 41"):
        make([results], tmp_path / "out")
    make([results], tmp_path / "out", DatasetOptions(skip_bad=True))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| results.jsonl | 40 | 0 | 1 | 2 |" in card


def test_it_is_an_error_if_nothing_is_read_but_not_if_nothing_passes(tmp_path: Path) -> None:
    empty = write_lines(tmp_path / "empty.jsonl", [])
    with pytest.raises(InputError, match="no finished search"):
        make([empty], tmp_path / "out")
    made = make([write_lines(tmp_path / "r.jsonl", searches(3))], tmp_path / "out", DatasetOptions(min_characters=5000))
    assert set(made) == {"README.md", "dataset.json", "dataset_info.json"}
    assert b"No trace passed the filters." in made["README.md"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kinds": ("sft", "cake")}, "--make cake: the kinds are sft, steps, pairs"),
        ({"form": "prose"}, "--form prose"),
        ({"min_characters": 9, "max_characters": 8}, "no text has 9 to 8"),
        ({"validation": 0.6, "test": 0.6}, "more than all questions"),
        ({"max_foreign": 2.0}, "--max-foreign 2.0: must be a number from 0 to 1"),
        ({"per_question": 0}, "--per-question 0"),
        ({"min_value": float("nan")}, "--min-value nan"),
    ],
)
def test_options_that_make_no_sense(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        DatasetOptions(**fields)


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    filler = "x" * 20_000
    path = tmp_path / "r.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for entry in searches(100):
            file.write(json.dumps(entry | {"filler": filler}) + "\n")
    tracemalloc.start()
    make([path], tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 2_000_000
    assert peak < 1_000_000
