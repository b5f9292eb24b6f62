"""`marcot eval`."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import Engine
from marcot.engine.dataset.sources.source import Entry, Source
from marcot.engine.evaluation import problems
from marcot.engine.search import answers_agree
from support.programs.limits import limited

STRATEGIES = "greedy,mcts:rollouts=3,width=2,action=mini-step-2,best-of-n:rollouts=2,label=best of 2"
QUESTIONS = [("How many clips?", "72"), ("How many apples?", "8"), ("小明有几个苹果？", "8"), ("And in May?", "24")]
FILES = ["q.jsonl--qwen2--best_of_2.jsonl", "q.jsonl--qwen2--greedy.jsonl"]
FILES += ["q.jsonl--qwen2--mcts_rollouts=3_width=2_action=mini-step-2.jsonl"]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.jsonl"
    entries = ({"question": question, "answer": answer} for question, answer in QUESTIONS)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


@pytest.fixture
def evaluate(marcot: Callable, talker: Path, questions: Path) -> Callable:
    def run(*arguments: object, strategies: str = STRATEGIES, data: object = questions) -> Any:
        chosen = ["--model", talker, "--input", data, "--strategy", strategies, "--set", "max_rollout_tokens=6"]
        return marcot("eval", *chosen, *arguments)

    return run


def lines(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(folder.glob("*.jsonl"))
    }


def without_times(text: str) -> list[list[str]]:
    """The cells of a report without those of columns that hold times."""
    table, rows = [line.strip("|").split("|") for line in text.splitlines()], []
    width = len(table[2])
    for row in table:
        rows.append(row[:-2] if len(row) == width else row)
    return rows


def cells(text: str) -> list[str]:
    """The words and numbers of a report in any format."""
    return re.sub(r"^## |[|]|[ |]---:?(?=[ |])", " ", text, flags=re.MULTILINE).split()


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_terminal_of_any_width_gets_whole_cells(
    evaluate: Callable, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ended = evaluate(strategies="greedy,best-of-n:rollouts=2,label=best of 2")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in ended.out
    if columns == 40:
        at = lines.index("best of 2")
        assert [line.split()[0] for line in lines[at + 1 : at + 4]] == ["questions", "right", "accuracy"]
    if columns == 200:
        assert sum(line.startswith("best of 2  ") for line in lines) == 4
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, evaluate(strategies="greedy").out.splitlines())) > 80


def test_every_strategy_answers_every_question(evaluate: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = evaluate("--out", out)
    assert ended.code == 0, ended.err
    found = lines(out)
    assert list(found) == FILES
    for entries in found.values():
        assert sorted(entry["index"] for entry in entries) == [0, 1, 2, 3]
        for entry in entries:
            assert entry["reference"] == QUESTIONS[entry["index"]][1]
            assert entry["question"].startswith(f"q.jsonl:{entry['index'] + 1}:")
            assert "result" not in entry
            assert entry["settings"]["data"] == "q.jsonl"
    [greedy] = {entry["label"] for entry in found[FILES[1]]}
    assert greedy == "greedy"
    assert {"curve.csv", "report.json", "report.md"} < {path.name for path in out.iterdir()}
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert markdown.startswith("## q.jsonl, qwen2\n")
    assert "| best of 2 | 4 |" in markdown
    assert cells(ended.out) == cells(markdown)
    assert ended.out.startswith("q.jsonl, qwen2\n")
    assert "\nCompared with greedy, on the same questions:\n" in ended.out
    curve = list(csv.DictReader((out / "curve.csv").open(encoding="utf-8")))
    assert {row["strategy"] for row in curve} >= {"greedy", "best of 2"}


def test_results_are_those_of_marcot_search(evaluate: Callable, talker: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("--out", out, "--instruction", "Think.", "--full").code == 0
    from marcot.engine import MCTS

    strategy = MCTS(rollouts=3, width=2, action="mini-step-2", max_rollout_tokens=6)
    results = Engine.load(str(talker)).search([question for question, _ in QUESTIONS], strategy, instruction="Think.")
    for entry in lines(out)[FILES[2]]:
        result = results[entry["index"]]
        assert entry["answer"] == result.answer
        assert entry["rollouts"]["answer"] == [rollout.answer for rollout in result.rollouts]
        assert entry["rollouts"]["spent"] == [rollout.spent for rollout in result.rollouts]
        assert entry["parents"] == [node.parent for node in result.tree]
        assert entry["result"]["text"] == result.text
        assert entry["result"]["question"] == f"{QUESTIONS[entry['index']][0]}\n\nThink."
        assert entry["settings"]["instruction"] == "Think."


def test_full_results_are_sources_of_training_data(evaluate: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("--out", out, "--full").code == 0
    source = Source(out / FILES[2])
    for span, kept in zip(source.spans(), lines(out)[FILES[2]], strict=True):
        entry = source.read(span)
        assert isinstance(entry, Entry)
        assert entry.model == kept["settings"]["model"]
        assert [trace.text for trace in entry.traces] == [rollout["text"] for rollout in kept["result"]["rollouts"]]
        right = [answers_agree(answer, kept["reference"]) for answer in kept["rollouts"]["answer"]]
        assert [trace.correct for trace in entry.traces] == right


def test_recorded_answers_are_not_repeated(evaluate: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("--out", out, "--questions", "1-2").code == 0
    before = lines(out)
    path = out / FILES[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    ended = evaluate("--out", out)
    assert (ended.code, "5 of 12 answers are already in" in ended.err) == (0, True)
    after = lines(out)
    for name, entries in after.items():
        kept = before[name][: 1 if name == FILES[0] else 2]
        assert entries[: len(kept)] == kept
        assert sorted(entry["index"] for entry in entries) == [0, 1, 2, 3]
    again = evaluate("--out", out, "--questions", "3")
    assert again.err == f"3 of 3 answers are already in {out}\n"
    assert re.search(r"^greedy +1 +", again.out, re.MULTILINE)


def test_other_settings_are_refused_before_anything_runs(evaluate: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("--out", out, strategies="greedy").code == 0
    before = lines(out)
    ended = evaluate("--out", out, "--max-tokens", 5, strategies="best-of-n,greedy")
    assert ended.code == 2
    assert "made with other settings (max_tokens was None, is 5)" in ended.err
    assert lines(out)[FILES[1]] == before[FILES[1]]


def test_a_run_that_is_killed_goes_on(evaluate: Callable, talker: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "many.tsv", tmp_path / "out"
    data.write_text("".join(f"Question {number}?\t{number}\n" for number in range(40)), encoding="utf-8")
    chosen = ["--model", talker, "--input", data, "--strategy", "best-of-n:rollouts=4", "--out", out]
    command = [sys.executable, "-m", "marcot.engine.cli", "eval", *map(str, chosen), "--set", "max_rollout_tokens=6"]
    process = subprocess.Popen(
        [*command, "--concurrency", "1", "--threads", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    [name] = ["many.tsv--qwen2--best-of-n_rollouts=4.jsonl"]
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if (out / name).exists() and (out / name).read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.005)
    assert process.poll() is None, "it was to be killed on its way"
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = (out / name).read_bytes()
    assert kept.count(b"\n") >= 3
    whole_lines = kept[: kept.rindex(b"\n") + 1]
    ended = evaluate("--out", out, data=data, strategies="best-of-n:rollouts=4")
    assert ended.code == 0
    assert (out / name).read_bytes().startswith(whole_lines)
    assert sorted(entry["index"] for entry in lines(out)[name]) == list(range(40))


@pytest.mark.usefixtures("ctrl_c_after_an_answer")
def test_ctrl_c_keeps_what_is_finished(evaluate: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    ended = evaluate("--out", out, "--concurrency", 1)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err == f"interrupted: finished 1 questions; run the same command again to resume from {out}\n"
    monkeypatch.undo()
    assert "1 of 12 answers are already in" in evaluate("--out", out).err


def test_a_report_needs_the_files_alone(
    evaluate: Callable, marcot: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    first = evaluate("--out", out)
    monkeypatch.setattr(Engine, "load", None)
    ended = marcot("eval", "--report", out, "--out", again, "--baseline", "greedy")
    assert ended.code == 0, ended.err
    assert first.code == 0
    reports = ((folder / "report.md").read_text(encoding="utf-8") for folder in (out, again))
    one, other = (sorted(map(tuple, without_times(text))) for text in reports)
    assert one == other
    assert (again / "curve.csv").exists()
    part = marcot("eval", "--report", out / FILES[1], "--questions", "2-3", "--json")
    [entry] = part.objects
    assert entry["groups"][0]["strategies"][0]["questions"] == 2


def test_only_questions_that_another_run_got_wrong(evaluate: Callable, tmp_path: Path) -> None:
    out, second = tmp_path / "out", tmp_path / "second"
    assert evaluate("--out", out, strategies="greedy").code == 0
    path = out / FILES[1]
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for entry in entries:
        entry["answer"] = entry["reference"] if entry["index"] in (0, 3) else "no"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    chosen = "mcts:rollouts=1,label=off,mcts:rollouts=1,reflection=on,label=on"
    ended = evaluate("--only-wrong", path, "--out", second, strategies=chosen)
    assert ended.code == 0, ended.err
    for entries in lines(second).values():
        assert sorted(entry["index"] for entry in entries) == [1, 2]
    none = evaluate("--only-wrong", path, "--questions", "1,4", strategies=chosen)
    assert (none.code, "none of the chosen questions" in none.err) == (2, True)


def test_right_answers_are_seen_as_right(evaluate: Callable, tmp_path: Path) -> None:
    out, data = tmp_path / "out", tmp_path / "known.jsonl"
    assert evaluate("--out", out, strategies="best-of-n:rollouts=3").code == 0
    [entries] = lines(out).values()
    known = {entry["index"]: next(filter(None, entry["rollouts"]["answer"]), "none") for entry in entries}
    texts = [{"question": question, "answer": known[place]} for place, (question, _) in enumerate(QUESTIONS)]
    data.write_text("".join(json.dumps(entry) + "\n" for entry in texts), encoding="utf-8")
    [report] = evaluate("--json", data=data, strategies="best-of-n:rollouts=3").objects
    [one] = report["groups"][0]["strategies"]
    chosen = sum(entry["answer"] == known[entry["index"]] for entry in entries)
    assert one["right"] >= chosen
    assert one["pass_at_k"] > 0
    judged = evaluate("--json", data=data, strategies="best-of-n:rollouts=3,value=ground-truth")
    assert (judged.code, len(judged.objects)) == (0, 1), judged.err


def test_without_a_folder_it_prints_only(evaluate: Callable, tmp_path: Path, questions: Path) -> None:
    ended = evaluate("--json", strategies="greedy,best-of-n:rollouts=2")
    [report] = ended.objects
    assert [entry["questions"] for entry in report["groups"][0]["strategies"]] == [4, 4]
    assert list(tmp_path.iterdir()) == [questions]


def test_a_question_that_fails_does_not_stop_the_others(evaluate: Callable, tmp_path: Path) -> None:
    data, out = tmp_path / "f.tsv", tmp_path / "out"
    data.write_text("One?\t1\n" + "word " * 3000 + "\t2\nThree?\t3\n", encoding="utf-8")
    ended = evaluate("--out", out, data=data, strategies="greedy")
    assert ended.code == 2
    assert "error: greedy, question 2: " in ended.err
    assert "Failed: greedy 1." in ended.out
    retried = evaluate("--out", out, data=data, strategies="greedy")
    assert (retried.code, "2 of 3 answers are already in" in retried.err) == (2, True)


FOREIGN = {
    "report.md": "## Thoughts\n\non strategies\n",
    "report.json": '{"groups": {}}\n',
    "curve.csv": "data,model\n",
    "curve.png": (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (640).to_bytes(4) + (480).to_bytes(4) + b"\x08\6\0\0\0abcd"
        b"\0\0\0\x1ftEXtSoftware\0Matplotlib version3.10"
    ),
}


@pytest.mark.parametrize(("name", "content"), FOREIGN.items(), ids=FOREIGN)
def test_a_report_does_not_replace_files_of_others(
    evaluate: Callable, marcot: Callable, tmp_path: Path, name: str, content: str | bytes
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = (out / name).read_bytes()
    for ended in (evaluate("--out", out), marcot("eval", "--report", out, "--out", out)):
        assert (ended.code, ended.out) == (2, "")
        assert f"{name}: exists and is not part of a report of marcot eval; move it, or give" in ended.err
    assert [path.name for path in out.iterdir()] == [name], "and nothing was run"
    assert (out / name).read_bytes() == before


def test_a_report_replaces_a_report(evaluate: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for questions in ("1-2", "1-3"):
        ended = evaluate("--out", out, "--questions", questions)
        assert ended.code == 0, ended.err
        assert f"| greedy | {questions[-1]} |" in (out / "report.md").read_text(encoding="utf-8")


def test_a_full_disk_leaves_the_whole_report_that_was_there(
    marcot: Callable, evaluate: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert evaluate("--out", out, strategies="greedy").code == 0
    old = {path: path.read_bytes() for path in out.iterdir()}
    results = next(path for path in old if path.suffix == ".jsonl")
    other = tmp_path / "other.jsonl"
    other.write_bytes(results.read_bytes().replace(b'"greedy"', b'"other"'))
    for name in ("report.md", "report.json", "curve.csv", "curve.png"):
        with limited(resource.RLIMIT_FSIZE, (out / name).stat().st_size - 1):
            ended = marcot("eval", "--report", results, other, "--out", out)
        assert (ended.code, "cannot be written: File too large" in ended.err) == (74, True)
        assert {path: path.read_bytes() for path in out.iterdir()} == old


def test_two_models_have_a_table_each(
    marcot: Callable, talker: Path, tiny_checkpoint: Callable[..., Path], questions: Path
) -> None:
    other = tiny_checkpoint("smollm2", tokenizer=True, num_hidden_layers=1)
    chosen = ["--input", questions, "--strategy", "greedy", "--set", "max_rollout_tokens=4"]
    ended = marcot("eval", "--model", f"{talker},{other}", *chosen)
    assert ended.code == 0, ended.err
    assert [line for line in ended.out.splitlines() if line.startswith("q.jsonl, ")] == [
        "q.jsonl, qwen2",
        "q.jsonl, smollm2",
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_mgsm_is_asked_with_its_instruction(evaluate: Callable, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    asked = []
    stream = Engine.stream

    def spying(engine: Engine, questions: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        kept = list(questions)
        asked.extend(kept)
        return stream(engine, kept, *arguments, **options)

    monkeypatch.setattr(Engine, "stream", spying)
    assert evaluate(data=f"mgsm:{language}:2-3,5", strategies="greedy").code == 0
    expected = [problems(language)[index] for index in (1, 2, 4)]
    assert [each.reference for each in asked] == [each.answer for each in expected]
    for each, problem in zip(asked, expected, strict=True):
        assert each.text.startswith(problem.question)
        assert "\\boxed{}" in each.text


ERRORS = {
    "no model": (["--model", ""], "--model needs a name"),
    "a model twice": (["--model", "a,a"], "a occurs twice"),
    "two models of a name": (["--model", "x/a,y/a"], "the names of two models are both 'a'"),
    "unknown strategy": (["--strategy", "luck"], "no strategy is called 'luck'"),
    "labels that make one file": (
        ["--strategy", "greedy:label=a b,mcts:label=a_b"],
        "the labels of two strategies",
    ),
    "unknown language": (["--input", "mgsm:de"], "the data sets are mgsm:en, mgsm:zh"),
    "data of no kind": (["--input", "gsm8k"], "must be mgsm:en, mgsm:zh or a file (.jsonl, "),
    "missing file": (["--input", "missing.tsv"], "missing.tsv: there is no such file"),
    "no answers": (["--input", "bare.txt"], "question 1 has no answer to compare with"),
    "too many questions": (["--input", "mgsm:en:240-260"], "questions 240-260: must be from 1 to 250"),
    "no range": (["--questions", "first"], "must be numbers and ranges, counted from 1"),
    "backward range": (["--questions", "5-2"], "must be numbers and ranges, counted from 1"),
    "a question of many digits": (["--questions", "1-" + "9" * 5000], "must be numbers and ranges, counted from 1"),
    "question 0": (["--questions", "0"], "must be numbers and ranges, counted from 1"),
    "two ranges": (["--input", "mgsm:en:1-2", "--questions", "1"], "either in --input mgsm:en:1-2 or in --questions 1"),
    "parameter without value": (["--set", "seed"], "'seed' is not of the form parameter=value"),
    "no concurrency": (["--concurrency", 0], "concurrency=0"),
    "unknown baseline, before any model is loaded": (
        ["--baseline", "luck", "--model", "no-such-model"],
        "no strategy is called 'luck'",
    ),
    "results without --report": (["results.jsonl"], "add --report to read result files"),
    "report of nothing": (["--report"], "--report needs result files"),
    "report of a missing file": (["--report", "missing.jsonl"], "missing.jsonl: there is no such file"),
    "report of an empty folder": (["--report", "empty"], "there are no results to report"),
    "report of other lines": (["--report", "foreign.jsonl"], "line 1: is not a result of marcot eval"),
    "out is a file": (["--out", "bare.txt"], "bare.txt: cannot be made a folder"),
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_what_a_user_can_get_wrong(
    marcot: Callable, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.txt").write_text("How many?\n")
    (tmp_path / "foreign.jsonl").write_text('{"question": "How many?"}\n')
    (tmp_path / "empty").mkdir()
    basis = [] if "--model" in arguments else ["--model", talker]
    basis += [] if "--strategy" in arguments else ["--strategy", "greedy:max_rollout_tokens=3"]
    ended = marcot("eval", *basis, *arguments)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert ended.err.startswith("error: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1
