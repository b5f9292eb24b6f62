"""`marcot dataset`."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.engine.dataset import DatasetBuilder
from marcot.engine.dataset.sources.result_line import parse_traces
from support.programs import interruptible
from support.searches.finished_searches import Told, result_line, write_lines

ENTRIES = [
    result_line(
        f"How many apples are in box {number}?",
        [
            Told((f"In box {number} there are {number} apples ", "and nothing else."), f"{number}", 0.9),
            Told((f"In box {number} there are {number} apples ", "and 2 more."), f"{number + 2}", 0.3),
        ],
        reference=number,
    )
    for number in range(12)
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "results.jsonl", ENTRIES)


def test_it_reports_the_outcome_of_every_search(marcot: Callable, results: Path, tmp_path: Path) -> None:
    ended = marcot("dataset", results, "--out", tmp_path / "data", "--max-similarity", 1.1, "--validation", 0)
    assert ended.code == 0
    assert "12 questions, 24 traces, 12 of them pass all filters" in ended.out
    assert "dropped: correct 12" in ended.out
    assert "pairs/train.jsonl: 12 records of 12 questions" in ended.out
    assert "tokens are not counted" in ended.out
    assert ended.err == ""
    again = marcot("dataset", results, "--out", tmp_path / "data", "--max-similarity", 1.1, "--validation", 0)
    assert "already exists" in again.out


def test_json_and_the_tokens_of_a_checkpoint(marcot: Callable, talker: Path, results: Path, tmp_path: Path) -> None:
    ended = marcot("dataset", results, "--out", tmp_path / "data", "--tokenizer", talker, "--json")
    assert ended.code == 0
    (summary,) = ended.objects
    assert summary["tally"]["tokens"]["sft/train"] > 0
    assert summary["options"]["tokenizer"] == str(talker)
    pair = json.loads((tmp_path / "data" / "pairs" / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert pair["shared_tokens"] > 0


def test_auto_takes_the_model_that_was_searched_with(marcot: Callable, talker: Path, tmp_path: Path) -> None:
    entries = [entry | {"settings": {"model": str(talker), "system": None}} for entry in ENTRIES]
    results = write_lines(tmp_path / "results.jsonl", entries)
    assert "tokens" in marcot("dataset", results, "--out", tmp_path / "data").out
    (summary,) = marcot("dataset", results, "--out", tmp_path / "data", "--json").objects
    assert summary["options"]["tokenizer"] == str(talker)


def test_it_reads_what_a_search_writes(marcot: Callable, talker: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.tsv"
    questions.write_text("What is 2 + 3?\t5\nWhat is 4 + 4?\t8\n", encoding="utf-8")
    found = tmp_path / "found.jsonl"
    budget = ["--rollouts", 4, "--max-rollout-tokens", 12]
    assert marcot("search", "-m", talker, "--input", questions, "--out", found, *budget).code == 0
    ended = marcot("dataset", found, "--out", tmp_path / "data", "--json")
    assert ended.code == 0
    (summary,) = ended.objects
    lines = [json.loads(line) for line in found.read_text(encoding="utf-8").splitlines()]
    assert summary["tally"]["passed"]["traces"] == sum(len(line["rollouts"]) for line in lines) > 0
    for line in lines:
        for rollout, trace in zip(line["rollouts"], parse_traces(line), strict=True):
            assert trace.complete == (rollout["finish_reason"] in ("eos", "stop"))
            assert "".join(step.text for step in trace.steps).strip() == rollout["text"].strip()
            nodes = line["tree"]["nodes"]
            assert all(step.visits <= nodes[0]["visits"] for step in trace.steps)
            assert trace.correct is not None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--make", "cake"], "--make cake"),
        (["--make", "sft,sft"], "sft occurs twice"),
        (["--form", "prose"], "--form prose"),
        (["--validation", "1.5"], "--validation 1.5: must be a number from 0 to 1"),
    ],
)
def test_options_that_make_no_sense(
    marcot: Callable, results: Path, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    ended = marcot("dataset", results, "--out", tmp_path / "data", *arguments)
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert complaint in ended.err
    assert not (tmp_path / "data").exists()


def test_no_tokenizer_where_one_is_wanted(marcot: Callable, mute: Path, results: Path, tmp_path: Path) -> None:
    ended = marcot("dataset", results, "--out", tmp_path / "data", "--tokenizer", "no-such-model")
    assert ended.code != 0
    assert "no model called 'no-such-model'" in ended.err
    ended = marcot("dataset", results, "--out", tmp_path / "data", "--tokenizer", mute)
    assert (ended.code, "has no tokenizer" in ended.err) == (2, True)


def test_a_bad_line_is_one_line_on_stderr(marcot: Callable, results: Path, tmp_path: Path) -> None:
    with results.open("a") as file:
        file.write("oops\n")
    ended = marcot("dataset", results, "--out", tmp_path / "data")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "results.jsonl, line 13: is not JSON" in ended.err
    assert marcot("dataset", results, "--out", tmp_path / "data", "--skip-bad").code == 0


def test_an_interrupt_shows_no_traceback(
    marcot: Callable, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: DatasetBuilder) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DatasetBuilder, "run", interrupted)
    ended = marcot("dataset", results, "--out", tmp_path / "data")
    assert ended.code == 130
    assert ended.err == f"interrupted: run the same command again to resume from {tmp_path / 'data'}.partial\n"


def test_ctrl_c_reaches_a_run_and_the_same_command_goes_on(marcot: Callable, tmp_path: Path) -> None:
    entries = [entry | {"question": f"{entry['question']} {turn}"} for turn in range(50) for entry in ENTRIES]
    results = write_lines(tmp_path / "results.jsonl", entries)
    out = tmp_path / "data"
    arguments = ["dataset", str(results), "--out", str(out), "--tokenizer", "none"]
    process = interruptible.start([sys.executable, "-m", "marcot.engine.cli", *arguments])
    while not (tmp_path / "data.partial" / "files" / "sft").exists():
        assert process.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    ended = marcot(*arguments)
    assert ended.code == 0
    assert marcot(*arguments[:3], tmp_path / "other" / "data", *arguments[4:]).code == 0
    for path in sorted(out.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "other" / "data" / path.relative_to(out)).read_bytes()


def test_help_teaches(marcot: Callable) -> None:
    text = marcot("dataset", "--help").out
    for word in ("--keep-wrong", "thought-output", "For example:", "marcot dataset searches.jsonl --out data"):
        assert word in text
