from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import InputError
from marcot.engine.dataset import DatasetBuilder, DatasetOptions
from marcot.engine.dataset.draft_folder import DraftFolder
from marcot.engine.dataset.features import FEATURES
from marcot.engine.dataset.split import assign_split, question_id
from marcot.engine.errors import OutputError
from support.searches.finished_searches import Told, read_lines, result_line, write_lines

WORDS = ("eggs", "pens", "cups", "keys", "hats")


def encode(text: str) -> list[int]:
    """A tokenizer: a token for each word."""
    return [int.from_bytes(hashlib.sha1(word.encode()).digest()[:4], "little") for word in text.split(" ")]


def searches(count: int, wrong_every: int = 2) -> list[dict[str, Any]]:
    """Searches of different questions, each with two right traces, a wrong one and a cut one."""
    entries = []
    for number in range(count):
        thing = WORDS[number % len(WORDS)]
        start = f"Lena has {number} {thing} and gets {number + 3} more of the {thing} from Ben in box {number}. "
        entries.append(
            result_line(
                f"How many {thing} has Lena after box {number}?",
                [
                    Told((start, f"That is {2 * number + 3}."), f"{2 * number + 3}", 0.8),
                    Told((start, f"So it is only {number}."), f"{number - 1}", 0.95),
                    Told((f"Counting {thing} {number}: ", f"the sum is {2 * number + 3}."), f"{2 * number + 3}", 0.7),
                    Told((start, "That"), "That", 0.1, "length"),
                ],
                reference=2 * number + 3 if number % wrong_every else None,
            )
        )
    return entries


def make(paths: list[Path], out: Path, options: DatasetOptions | None = None, **more: Any) -> dict[str, bytes]:
    DatasetBuilder(paths, out, options or DatasetOptions(), encode).run(**more)
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "results.jsonl", searches(40))


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
            # The mean of 0.8, 0.95, 0.7 and 0.1 is 0.6375; the three through the shared step have 0.617.
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
    # The texts of the second file are those of the first.
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


class Stopped(BaseException):
    """As an interrupt: nobody catches it."""


def run_until(stop: Callable[[int], None], run: Callable[[], object]) -> None:
    """Run, with `stop` called before every write to the draft with how many there were."""
    written = 0
    append = DraftFolder.append

    def counted(self: DraftFolder, name: str, data: bytes) -> None:
        nonlocal written
        written += 1
        stop(written)
        append(self, name, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DraftFolder, "append", counted)
        run()


@settings(max_examples=8, deadline=None)
@given(
    stops=st.lists(st.integers(1, 120), min_size=1, max_size=4),
    torn=st.lists(st.integers(0, 400), min_size=1, max_size=4),
    every=st.sampled_from([0.0, 0.002, 9.0]),
)
def test_stopped_and_resumed_it_is_the_same(
    stops: list[int], torn: list[int], every: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("resumed")
    path = write_lines(folder / "r.jsonl", searches(25))
    whole = make([path], folder / "whole" / "data")

    def stop_at(point: int) -> Callable[[int], None]:
        def stop(written: int) -> None:
            if written == point:
                raise Stopped

        return stop

    out = folder / "data"
    for point, extra in zip(stops, torn, strict=False):
        builder = DatasetBuilder([path], out, DatasetOptions(), encode)
        try:
            run_until(stop_at(point), lambda builder=builder: builder.run(every))  # type: ignore[misc]
        except Stopped:
            # What a killed process had not flushed, and what it had written of a line.
            for file in (folder / "data.partial").rglob("*.jsonl"):
                with file.open("ab") as tail:
                    tail.write(b'{"messages"'[:extra] + b"\0" * extra)
    assert make([path], out, checkpoint_seconds=every) == whole


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("point", [1, 30, 77, 150])
def test_killed_and_resumed_it_is_the_same(point: int, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", searches(25))
    whole = make([path], tmp_path / "whole" / "data")

    def kill(written: int) -> None:
        if written == point:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        run_until(kill, lambda: DatasetBuilder([path], tmp_path / "data", DatasetOptions(), encode).run(0))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "killed before its end"
    assert not (tmp_path / "data").exists(), "a folder appears when it is finished"
    resumed = DatasetBuilder([path], tmp_path / "data", DatasetOptions(), encode).run()
    assert contents(tmp_path / "data") == whole
    assert (resumed.resumed_at > 0) == (point > 20)


def test_a_finished_folder_is_left_alone(results: Path, tmp_path: Path) -> None:
    made = make([results], tmp_path / "data")
    again = DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode).run()
    assert again.was_there
    assert contents(tmp_path / "data") == made
    with pytest.raises(InputError, match="was made with other options or sources"):
        DatasetBuilder([results], tmp_path / "data", DatasetOptions(seed=1), encode).run()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="no data set of ours"):
        DatasetBuilder([results], tmp_path / "mine", DatasetOptions(), encode).run()


def test_a_draft_with_other_options_is_refused(results: Path, tmp_path: Path) -> None:
    def stop(written: int) -> None:
        if written == 50:
            raise Stopped

    with pytest.raises(Stopped):
        run_until(stop, lambda: DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode).run(0))
    with pytest.raises(InputError, match="begun with other options or sources"):
        DatasetBuilder([results], tmp_path / "data", DatasetOptions(seed=1), encode).run()
    with results.open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="begun with other options or sources"):
        DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode).run()


def test_another_tokenizer_is_noticed(results: Path, tmp_path: Path) -> None:
    def builder(tokenizer: str | None) -> DatasetBuilder:
        return DatasetBuilder([results], tmp_path / "data", DatasetOptions(tokenizer="m"), encode, tokenizer=tokenizer)

    def stop(written: int) -> None:
        if written == 50:
            raise Stopped

    with pytest.raises(Stopped):
        run_until(stop, lambda: builder("one").run(0))
    with pytest.raises(InputError, match="begun with other options or sources, or another tokenizer"):
        builder("two").run()
    builder("one").run()
    with pytest.raises(InputError, match="made with other options or sources, or another tokenizer"):
        builder("two").run()


def test_a_data_set_of_a_version_that_did_not_name_the_tokenizer_is_finished(results: Path, tmp_path: Path) -> None:
    make([results], tmp_path / "data")
    assert DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode, tokenizer="one").run().was_there


def test_two_runs_do_not_write_to_the_same_folder(tmp_path: Path) -> None:
    with DraftFolder(tmp_path / "data", "a"), pytest.raises(InputError, match="another run is writing there"):
        DraftFolder(tmp_path / "data", "a")


def stopped_draft(path: Path, out: Path) -> Path:
    """The draft of a run that was stopped after its first checkpoint."""

    def stop(written: int) -> None:
        if written == 50:
            raise Stopped

    with pytest.raises(Stopped):
        run_until(stop, lambda: DatasetBuilder([path], out, DatasetOptions(), encode).run(0))
    return out.with_name(out.name + ".partial")


THESES = (
    "thesis.txt",
    "files/keep.txt",
    "files/sft/keep.txt",
    "files/sft/train.jsonl",
    "notes",
    "lock",
    "checkpoint.json",
)


@pytest.mark.parametrize("thesis", THESES)
def test_a_folder_of_somebody_else_is_not_taken_for_a_draft(results: Path, tmp_path: Path, thesis: str) -> None:
    mine = tmp_path / "data.partial" / thesis
    mine.parent.mkdir(parents=True)
    mine.write_text('{"mine": 1}\n')
    with pytest.raises(InputError, match=r"data\.partial: is there already and is no draft of ours; move it"):
        make([results], tmp_path / "data")
    assert contents(tmp_path / "data.partial") == {thesis: b'{"mine": 1}\n'}
    finished = make([results], tmp_path / "other")
    (tmp_path / "data.partial").rename(tmp_path / "other.partial")
    assert make([results], tmp_path / "other") == finished
    assert contents(tmp_path / "other.partial") == {thesis: b'{"mine": 1}\n'}


@pytest.mark.parametrize("kind", ["an empty folder", "a file", "a link to a draft", "a link to nothing"])
def test_what_is_no_folder_of_ours_stays(results: Path, tmp_path: Path, kind: str) -> None:
    draft = stopped_draft(results, tmp_path / "away" / "data")
    before = contents(draft)
    partial = tmp_path / "data.partial"
    if kind == "an empty folder":
        partial.mkdir()
    elif kind == "a file":
        partial.write_text("mine")
    else:
        partial.symlink_to(draft if kind == "a link to a draft" else tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no draft of ours"):
        make([results], tmp_path / "data")
    assert os.path.lexists(partial)
    assert contents(draft) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"away", "data.partial", results.name})


@pytest.mark.parametrize("thesis", ["thesis.txt", "files/keep.txt", "files/sft/keep.txt", "files/mine/train.jsonl"])
def test_what_somebody_put_into_a_draft_stays(results: Path, tmp_path: Path, thesis: str) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    (draft / thesis).parent.mkdir(exist_ok=True)
    (draft / thesis).write_text("mine")
    before = contents(draft)
    with pytest.raises(InputError, match="is no part of a draft of ours; move it"):
        make([results], tmp_path / "data")
    assert contents(draft) == before


@pytest.mark.parametrize("link", ["files/sft/train.jsonl", "files/sft", "notes"])
def test_a_draft_does_not_write_through_links(results: Path, tmp_path: Path, link: str) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    (draft / link).rename(tmp_path / "mine")
    (draft / link).symlink_to(tmp_path / "mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="is no part of a draft of ours; move it"):
        make([results], tmp_path / "data")
    assert contents(tmp_path) == before


def test_a_draft_from_before_it_had_a_mark_is_gone_on_with(results: Path, tmp_path: Path) -> None:
    whole = make([results], tmp_path / "whole" / "data")
    (stopped_draft(results, tmp_path / "data") / "lock").write_bytes(b"")
    assert make([results], tmp_path / "data") == whole
    assert not (tmp_path / "data.partial").exists()


def forged(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a checkpoint as if it had been written so."""
    saved = json.loads(checkpoint.read_text())
    del saved["sha256"]
    change(saved)
    whole = json.dumps(saved, sort_keys=True).encode()
    checkpoint.write_text(json.dumps(saved | {"sha256": hashlib.sha256(whole).hexdigest()}))


def test_a_checkpoint_that_does_not_fit_its_files_is_refused(results: Path, tmp_path: Path) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    checkpoint = draft / "checkpoint.json"
    good = checkpoint.read_text()
    mark = {"size": 10**9, "sha256": hashlib.sha256(b"").hexdigest()}
    for name in ("../../results.jsonl", "/etc/passwd", "sft/train.jsonl", "sft/more.jsonl", "lock"):
        checkpoint.write_text(good)
        forged(checkpoint, lambda saved, name=name: saved["files"].update({name: mark}))  # type: ignore[misc]
        before = contents(tmp_path)
        with pytest.raises(InputError, match=f"{name} is not as the checkpoint has it; remove the folder"):
            make([results], tmp_path / "data")
        assert contents(tmp_path) == before
    for damaged in (
        "",
        "[]",
        good[:-5],
        "[" * 100_000,
        good.replace('"next": ', '"next": 1'),
        good.replace("sft", "pft"),
    ):
        checkpoint.write_text(damaged)
        with pytest.raises(
            InputError, match=r"checkpoint\.json: is damaged, .*; remove .*data\.partial, or give another"
        ):
            make([results], tmp_path / "data")


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no identity": lambda saved: saved.pop("identity"),
    "size below none": lambda saved: saved["files"]["../notes"].update(size=-1),
    "size of half a byte": lambda saved: saved["files"]["../notes"].update(size=0.5),
    "files in a list": lambda saved: saved.update(files=[1]),
    "question beyond the last": lambda saved: saved["state"].update(next=10**6),
    "no next question": lambda saved: saved["state"].pop("next"),
    "count of counts": lambda saved: saved["state"]["tally"].update(passed={"traces": {}}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_checkpoint_that_says_what_none_can_say_is_refused(results: Path, tmp_path: Path, forgery: str) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    forged(draft / "checkpoint.json", FORGERIES[forgery])
    with pytest.raises(InputError, match=r"must be|required"):
        make([results], tmp_path / "data")


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "shorter": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "another byte": lambda content: content[: len(content) // 2] + b"~" + content[len(content) // 2 + 1 :],
    "another size": lambda content: content.replace(b'"size": ', b'"size": 1'),
}


def test_a_changed_draft_gives_the_same_bytes_or_is_refused(tmp_path: Path) -> None:
    results = write_lines(tmp_path / "results.jsonl", searches(9))
    whole = make([results], tmp_path / "whole" / "data")
    draft = stopped_draft(results, tmp_path / "data")
    good = contents(draft)
    for name in (*good, "checkpoint.new"):
        for change in (*CHANGES, "missing", "a pipe"):
            shutil.rmtree(tmp_path / "data", ignore_errors=True)
            shutil.rmtree(draft, ignore_errors=True)
            for each, content in good.items():
                (draft / each).parent.mkdir(parents=True, exist_ok=True)
                (draft / each).write_bytes(content)
            (draft / name).unlink(missing_ok=True)
            if change == "a pipe":
                os.mkfifo(draft / name)
            elif change != "missing":
                (draft / name).write_bytes(CHANGES[change](good.get(name, b"?")))
            try:
                made = make([results], tmp_path / "data")
            except InputError:
                assert not (tmp_path / "data").exists()
            else:
                assert made == whole, (name, change)


def test_what_a_run_left_that_was_killed_after_its_last_step_goes(results: Path, tmp_path: Path) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    files = draft / "files"
    files.rename(tmp_path / "away")
    made = make([results], tmp_path / "other")
    (tmp_path / "other").rename(tmp_path / "data")
    (draft / "thesis.txt").write_text("mine")
    assert make([results], tmp_path / "data") == made
    assert contents(draft) == {"thesis.txt": b"mine"}


def test_a_full_disk_is_an_error_and_the_run_goes_on_when_there_is_room(results: Path, tmp_path: Path) -> None:
    whole = make([results], tmp_path / "whole" / "data")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 3000, 9000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(
                OutputError, match=r"data\.partial: File too large; fix this and run the same command again to resume"
            ):
                make([results], tmp_path / "data", checkpoint_seconds=0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert make([results], tmp_path / "data") == whole
    assert not (tmp_path / "data.partial").exists()


@pytest.mark.parametrize(
    "summary", ["[]", "{}", '{"questions": 1}', "[" * 100_000], ids=["list", "empty", "part", "deep"]
)
def test_a_folder_with_another_summary_is_none_of_ours(results: Path, tmp_path: Path, summary: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text(summary)
    with pytest.raises(InputError, match="is there already and no data set of ours"):
        make([results], tmp_path / "data")


def test_bad_entries_are_counted_if_that_is_wanted(results: Path, tmp_path: Path) -> None:
    with results.open("a") as file:
        file.write('{"question": 3}\nnonsense\n{"index": 9, "question": "Q?", "error": "too long", "settings": {}}\n')
    with pytest.raises(InputError, match="line 41"):
        make([results], tmp_path / "out")
    make([results], tmp_path / "out", DatasetOptions(skip_bad=True))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| results.jsonl | 40 | 0 | 1 | 2 |" in card


def test_nothing_to_read_is_an_error_and_nothing_that_passes_is_none(tmp_path: Path) -> None:
    empty = write_lines(tmp_path / "empty.jsonl", [])
    with pytest.raises(InputError, match="no finished search"):
        make([empty], tmp_path / "out")
    made = make([write_lines(tmp_path / "r.jsonl", searches(3))], tmp_path / "out", DatasetOptions(min_characters=5000))
    assert set(made) == {"README.md", "dataset.json", "dataset_info.json"}
    assert b"No trace passed the filters." in made["README.md"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kinds": ("sft", "cake")}, "--make cake: there are sft, steps, pairs"),
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
