"""`marcot search`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, Engine
from marcot.engine.search.rollout.instruction import DEFAULT_INSTRUCTION

QUICK = ["--rollouts", 2, "--max-rollout-tokens", 5, "--action", "mini-step-2", "--width", 2]


@pytest.fixture
def search(marcot: Callable, talker: Path) -> Callable:
    return lambda *arguments, **options: marcot("search", "--model", talker, *QUICK, *arguments, **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_json_is_one_object_and_nothing_else(search: Callable) -> None:
    ended = search("--json", "How many clips?")
    assert ended.code == 0
    [entry] = ended.objects
    assert set(entry) == {
        *("index", "question", "instruction", "answer", "text", "value", "confidence", "rollouts", "tree", "best_path"),
        *("stats", "settings"),
    }
    assert (entry["index"], entry["question"]) == (0, "How many clips?")
    assert len(entry["rollouts"]) == 2
    assert {"text", "value", "answer", "tokens"} <= set(entry["rollouts"][0])
    nodes = entry["tree"]["nodes"]
    assert {"id", "parent", "text", "visits", "value", "tokens", "kind"} == set(nodes[0])
    assert nodes[0]["visits"] == 2
    assert "".join(nodes[id]["text"] for id in entry["best_path"]) == entry["text"]
    assert entry["stats"]["generated_tokens"] >= sum(node["tokens"] for node in nodes)
    assert {"prefill_tokens", "reused_tokens", "wall_s", "tokens_per_s", "kv_pages_peak"} <= set(entry["stats"])
    assert entry["settings"]["rollouts"] == 2


@pytest.mark.parametrize(
    ("arguments", "setting", "follows"),
    [
        ([], "auto", DEFAULT_INSTRUCTION),
        (["--instruction", "Think."], "Think.", "Think."),
        (["--instruction", "none"], "", ""),
        (["--instruction", ""], "", ""),
        (["--answer-from", "text"], "auto", ""),
    ],
    ids=["by default", "a text", "none", "empty", "no box"],
)
def test_results_say_what_followed_the_question(
    search: Callable, arguments: list[str], setting: str, follows: str
) -> None:
    [entry] = search("--json", *arguments, "How many?").objects
    assert (entry["question"], entry["instruction"]) == ("How many?", follows)
    assert entry["settings"]["instruction"] == setting


def test_the_help_says_what_follows_a_question(search: Callable) -> None:
    shown = " ".join(search("--help").out.replace("│", " ").split())
    assert DEFAULT_INSTRUCTION in shown


def test_it_finds_what_the_library_finds(search: Callable, talker: Path) -> None:
    [entry] = search("--json", "--seed", 3, "How many clips?").objects
    from marcot.engine import Sampling

    strategy = MCTS(rollouts=2, max_rollout_tokens=5, action="mini-step-2", width=2, sampling=Sampling(seed=3))
    [result] = Engine.load(str(talker)).search("How many clips?", strategy)
    assert [rollout["text"] for rollout in entry["rollouts"]] == [rollout.text for rollout in result.rollouts]
    assert entry["value"] == result.value


def test_a_person_sees_answer_chain_and_tree(search: Callable) -> None:
    ended = search("How many clips?")
    assert ended.code == 0
    for part in ("answer ", "confidence ", "best chain", "tree: visits, mean value", "2 rollouts", "tokens/s"):
        assert part in ended.out
    assert ended.err == ""


def test_a_question_from_stdin(search: Callable) -> None:
    assert search("--json", "-", stdin="How many?\n").objects[0]["question"] == "How many?"


@pytest.mark.parametrize(
    ("name", "content", "fields"),
    [
        ("q.txt", "One?\n\nTwo?\r\n", [{}, {}]),
        ("q.jsonl", '{"id": 7, "question": "One?"}\n{"question": "Two?", "answer": 2}\n', [{"id": 7}, {"answer": 2}]),
        ("q.tsv", "One?\t1,080\nTwo?\n", [{"answer": "1,080"}, {}]),
    ],
    ids=["txt", "jsonl", "tsv"],
)
def test_a_file_of_questions(
    search: Callable, tmp_path: Path, name: str, content: str, fields: list[dict[str, Any]]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    ended = search("--json", "--input", tmp_path / name)
    entries = sorted(ended.objects, key=lambda entry: entry["index"])
    assert [entry["question"] for entry in entries] == ["One?", "Two?"]
    assert [entry.get("input", {}) for entry in entries] == fields
    assert ["correct" in entry for entry in entries] == ["answer" in extra for extra in fields]
    assert "2 questions finished" in ended.err


def test_many_questions_are_a_line_each(search: Callable, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("One?\t1\nTwo?\n", encoding="utf-8")
    ended = search("--input", tmp_path / "q.tsv")
    rows = sorted(line.split("\t") for line in ended.out.splitlines())
    assert [(row[0], row[3] in ("right", "wrong"), row[4]) for row in rows] == [
        ("1", True, "One?"),
        ("2", False, "Two?"),
    ]
    assert "of 1 right" in ended.err


def test_out_appends_and_resumes(search: Callable, tmp_path: Path) -> None:
    questions, out = tmp_path / "q.txt", tmp_path / "out.jsonl"
    questions.write_text("One?\nTwo?\nThree?\n", encoding="utf-8")
    assert search("--input", questions, "--out", out).code == 0
    whole = out.read_bytes()
    first, second, third = whole.splitlines(keepends=True)
    out.write_bytes(first + third[:40])
    ended = search("--input", questions, "--out", out)
    assert (ended.code, "1 of 3 questions are already in" in ended.err) == (0, True)
    assert sorted(entry["question"] for entry in lines(out)) == ["One?", "Three?", "Two?"]
    assert out.read_bytes().startswith(first)
    again = search("--input", questions, "--out", out, "--json")
    assert (again.code, again.out) == (0, "")
    assert len(lines(out)) == 3
    assert second in whole


def test_resuming_with_other_settings_is_refused(search: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert search("One?", "--out", out).code == 0
    before = out.read_bytes()
    ended = search("One?", "--out", out, "--seed", 5)
    assert ended.code == 2
    assert "made with other settings (sampling.seed was 0, is " in ended.err
    assert out.read_bytes() == before


@pytest.mark.parametrize("link", ["itself", "another spelling", "a symbolic link", "a hard link", "an open file"])
def test_questions_are_never_the_file_of_results(
    search: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    monkeypatch.chdir(tmp_path)
    questions = Path("q.jsonl")
    questions.write_text('{"question": "One?", "answer": "4"}')
    out = Path("other.jsonl")
    with questions.open() as file:
        if link == "a symbolic link":
            out.symlink_to(questions)
        elif link == "a hard link":
            out.hardlink_to(questions)
        else:
            spelled = {"itself": "q.jsonl", "another spelling": "../" * 30 + f"{tmp_path}/./q.jsonl"}
            out = Path(spelled.get(link, f"/dev/fd/{file.fileno()}"))
        ended = search("--input", questions, "--out", out)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("is the file of the questions; give --out another file\n")
    assert questions.read_text() == '{"question": "One?", "answer": "4"}'


def test_a_tree_is_never_the_file_of_results(search: Callable, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    assert search("One?", "--out", out).code == 0
    before = out.read_bytes()
    for tree in (out, tmp_path / "new.json"):
        ended = search("One?", "--out", tree, "--tree", tree)
        assert (ended.code, ended.err) == (
            2,
            f"error: --tree {tree}: is also the file of another option; give --tree another one\n",
        )
    assert out.read_bytes() == before


@pytest.mark.parametrize("other", ["--input", "--out", "--tree"])
def test_statistics_are_never_the_file_of_another_option(search: Callable, tmp_path: Path, other: str) -> None:
    questions, path = tmp_path / "q.txt", tmp_path / "new" / ".." / "s.json"
    questions.write_text("One?\n", encoding="utf-8")
    given = [] if other == "--input" else [other, tmp_path / "s.json"]
    ended = search("--input", questions, *given, "--stats-out", questions if other == "--input" else path)
    assert ended.code == 2
    assert "is also the file of another option; give --" in ended.err
    assert questions.read_text(encoding="utf-8") == "One?\n"
    assert not (tmp_path / "s.json").exists()


def test_a_tree_that_is_somebody_elses_is_refused_before_anything_is_loaded(
    search: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions, page = tmp_path / "q.txt", tmp_path / "out-0002.html"
    questions.write_text("One?\nTwo?\n", encoding="utf-8")
    page.write_text("my page")
    monkeypatch.setattr(Engine, "load", None)
    ended = search("--input", questions, "--tree", tmp_path / "out.html")
    assert (ended.code, page.read_text()) == (2, "my page")
    assert "out-0002.html: exists and is not a tree of marcot search" in ended.err


@pytest.mark.parametrize(
    ("given", "margin"),
    [([], 2), (["--vote-margin", 0], 0), (["--solutions", 2], 0), (["--solutions", 2, "--vote-margin", 3], 3)],
)
def test_all_rollouts_are_made_if_several_solutions_are_wanted(
    search: Callable, tmp_path: Path, given: list[object], margin: int
) -> None:
    out = tmp_path / "out.jsonl"
    assert search("One?", "--out", out, *given).code == 0
    assert lines(out)[0]["settings"]["lead"] == margin


def test_what_cannot_change_a_result_may_change_between_runs(search: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert search("One?", "--out", out).code == 0
    again = search("One?", "--out", out, "--concurrency", 2, "--threads", 1, "--kv-tokens", 4096)
    assert (again.code, len(lines(out))) == (0, 1)


def test_a_question_that_fails_does_not_stop_the_others(search: Callable, tmp_path: Path) -> None:
    questions, out = tmp_path / "q.txt", tmp_path / "out.jsonl"
    questions.write_text("One?\n" + "word " * 3000 + "\nThree?\n", encoding="utf-8")
    ended = search("--input", questions, "--out", out, "--json")
    assert ended.code == 2
    entries = {entry["index"]: entry for entry in ended.objects}
    assert ["error" in entries[index] for index in range(3)] == [False, True, False]
    assert "4096" in entries[1]["error"]
    assert "error: question 2: " in ended.err
    assert "2 questions finished, 1 failed" in ended.err
    retried = search("--input", questions, "--out", out, "--json")
    assert [entry["index"] for entry in retried.objects] == [1]


@pytest.mark.usefixtures("ctrl_c_after_an_answer")
def test_ctrl_c_keeps_what_is_finished(search: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, out = tmp_path / "q.txt", tmp_path / "out.jsonl"
    questions.write_text("One?\nTwo?\n", encoding="utf-8")
    ended = search("--input", questions, "--out", out, "--concurrency", 1)
    assert ended.code == 130
    assert f"interrupted: finished 1 of 2 questions; run the same command again to resume from {out}" in ended.err
    assert [entry["question"] for entry in lines(out)] == ["One?"]
    monkeypatch.undo()
    assert search("--input", questions, "--out", out).code == 0
    assert [entry["question"] for entry in lines(out)] == ["One?", "Two?"]


def test_progress_is_a_line_now_and_then_when_piped(search: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marcot.engine.cli.live_view.PLAIN_LINE_EVERY", 0.0)
    ended = search("--json", "How many clips?")
    assert len(ended.objects) == 1
    *_, last = ended.err.splitlines()
    assert last.startswith("1 of 1 questions, ")
    assert "tokens/s" in last


def test_chosen_questions_of_a_file(search: Callable, tmp_path: Path) -> None:
    questions = tmp_path / "q.txt"
    questions.write_text("One?\nTwo?\nThree?\nFour?\n", encoding="utf-8")
    found = search("--input", questions, "--questions", "2-3", "--json").objects
    assert sorted((entry["index"], entry["question"]) for entry in found) == [(1, "Two?"), (2, "Three?")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--questions", "1", "One?"], "--questions 1: needs --input FILE"),
        (["--input", "q.txt", "--questions", "3"], "3"),
    ],
)
def test_questions_that_are_not_there(
    search: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.txt").write_text("One?\nTwo?\n", encoding="utf-8")
    ended = search(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
