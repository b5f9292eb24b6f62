"""Results files: appending, torn lines, settings, and full disks."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from marcot.engine import InputError
from marcot.engine.errors import OutputError
from marcot.engine.results.question_file import InputQuestion
from marcot.engine.results.results_file import ResultsFile

SETTINGS = {"model": "m", "sampling": {"stop": ("a", "b"), "seed": 1}, "system": None}
ONE, TWO = InputQuestion(0, "One?"), InputQuestion(1, "小明?")


def entry(question: InputQuestion, **more: Any) -> dict[str, Any]:
    return {"index": question.index, "question": question.text, "settings": SETTINGS, **more}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_what_was_appended_is_found_again(path: Path) -> None:
    with ResultsFile(path, SETTINGS) as file:
        assert not file.has(ONE)
        file.append(entry(ONE))
        file.append(entry(TWO, value=float("nan")))
    with ResultsFile(path, SETTINGS) as file:
        assert file.has(ONE)
        assert file.has(TWO)
        assert not file.has(InputQuestion(1, "One?"))
    assert "小明?" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1])["value"] is None


def test_a_slow_disk_holds_nobody_up_until_the_file_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released, synced = Event(), []

    def sync(_: int) -> None:
        released.wait()
        synced.append(path.read_bytes().count(b"\n"))

    monkeypatch.setattr(os, "fsync", sync)
    with ResultsFile(path, SETTINGS) as file:
        for index in range(5):
            file.append(entry(InputQuestion(index, "Why?")))
        assert path.read_bytes().count(b"\n") == 5
        released.set()
    assert synced[-1] == 5
    assert len(synced) <= 2, "the last one is for all that was written while the first ran"


def test_a_disk_that_fails_later_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", sync)
    told = r"out\.jsonl: Input/output error; fix this and run the same command again"
    with pytest.raises(OutputError, match=told), ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE))


def test_a_question_that_failed_is_not_done(path: Path) -> None:
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE, error="too long"))
    with ResultsFile(path, SETTINGS) as file:
        assert not file.has(ONE)
        file.append(entry(ONE))
    with ResultsFile(path, SETTINGS) as file:
        assert file.has(ONE)


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(path: Path) -> None:
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE))
        whole = path.read_bytes()
        file.append(entry(TWO))
    second = path.read_bytes()[len(whole) :]
    for length in range(len(second) - 1):
        path.write_bytes(whole + second[:length])
        with ResultsFile(path, SETTINGS) as file:
            assert file.has(ONE)
            assert not file.has(TWO)
            file.append(entry(TWO))
        assert path.read_bytes() == whole + second


def test_a_last_line_that_lacks_only_its_line_feed_is_whole(path: Path) -> None:
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with ResultsFile(path, SETTINGS) as file:
        assert file.has(ONE)
        assert path.read_bytes() == whole
        file.append(entry(TWO))
    path.write_bytes(path.read_bytes()[:-1])
    before = path.read_bytes()
    with pytest.raises(InputError, match="line 1: was made with other settings"):
        ResultsFile(path, SETTINGS | {"model": "n"})
    assert path.read_bytes() == before


OURS = {
    "of a search": (entry(InputQuestion(0, 'Say "hi" \\ 你'), answer="72") | {"text": "So 72."}, '"text": "'),
    "of an evaluation": (
        {"label": "mcts", **entry(InputQuestion(0, "q.tsv:1:0a1b2c3d"), reference="72")},
        '"reference": "',
    ),
    "of a failure": (entry(InputQuestion(0, "One?"), error="too long"), '"settings": {'),
    "of a failure, evaluated": ({"label": "mcts", **entry(InputQuestion(0, "One?"), error="x")}, '"settings": {'),
}


@pytest.mark.parametrize(("ours", "sure"), OURS.values(), ids=OURS)
def test_a_torn_line_with_nothing_before_it_is_cut_off_if_enough_is_left(
    path: Path, ours: dict[str, Any], sure: str
) -> None:
    text = json.dumps({key: ours[key] for key in sorted(ours, key="settings".__eq__)}, ensure_ascii=False)
    line, enough = text.encode(), len(text[: text.index(sure)].encode()) + len(sure)
    for length in range(1, len(line)):
        path.write_bytes(line[:length])
        if length < enough:
            with pytest.raises(InputError, match="line 1: is not a result of marcot search"):
                ResultsFile(path, SETTINGS)
            assert path.read_bytes() == line[:length]
        else:
            with ResultsFile(path, SETTINGS):
                assert path.read_bytes() == b""


def test_a_torn_file_of_numbered_questions_is_left_as_it_is(path: Path) -> None:
    line = b'{"index": 0, "question": "How many?", "answer": "8 clips", "why": "half of 16"}'
    for length in range(1, len(line) + 1):
        path.write_bytes(line[:length])
        with pytest.raises(InputError, match="line 1: is not a result of marcot search"):
            ResultsFile(path, SETTINGS)
        assert path.read_bytes() == line[:length]


def test_a_lone_surrogate_does_not_break_the_file(path: Path) -> None:
    odd = InputQuestion(0, "\udcff?")
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(odd))
    with ResultsFile(path, SETTINGS) as file:
        assert file.has(odd)


FOREIGN = {
    "a diary": "dear diary",
    "a list": "[1]",
    "an object": '{"index": 0}',
    "an empty line": "",
    "a question": '{"question": "How many?", "answer": "8"}',
    "a numbered question": '{"index": 0, "question": "How many?", "answer": "8"}',
    "settings that are none": '{"index": 0, "question": "How many?", "settings": []}',
    "a question that is none": '{"index": 0, "question": [], "settings": {}}',
    "brackets": "[" * 100_000,
    "bytes": "\0\x01\x02",
}


@pytest.mark.parametrize("end", ["\n", ""], ids=["with a line feed", "without"])
@pytest.mark.parametrize("line", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_something_else_is_left_as_it_is(path: Path, line: str, end: str) -> None:
    if not line + end:
        return
    path.write_text(line + end, encoding="utf-8")
    with pytest.raises(InputError, match="line 1: is not a result of marcot search"):
        ResultsFile(path, SETTINGS)
    assert path.read_text(encoding="utf-8") == line + end


@pytest.mark.parametrize("line", FOREIGN.values(), ids=FOREIGN)
def test_what_somebody_wrote_below_results_is_left_as_it_is(path: Path, line: str) -> None:
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE))
    if line:
        with path.open("a") as file:
            file.write(line)
        before = path.read_bytes()
        with pytest.raises(InputError, match="line 2: is not a result of marcot search"):
            ResultsFile(path, SETTINGS)
        assert path.read_bytes() == before


def test_other_settings_are_named(path: Path) -> None:
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE))
    with pytest.raises(
        InputError, match=r"line 1: was made with other settings \(model was 'm', is 'n', width was None"
    ):
        ResultsFile(path, SETTINGS | {"model": "n", "width": 3})


def test_a_second_run_on_the_same_file_is_refused(path: Path) -> None:
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE))
        with pytest.raises(InputError, match=r"out\.jsonl: another run is writing to it"):
            ResultsFile(path, SETTINGS)
    with ResultsFile(path, SETTINGS) as again:
        assert again.has(ONE)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/full", "/dev/zero", "pipe", "folder"])
def test_what_cannot_be_read_back_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"{name}: is not a regular file, so no run could resume from it"):
        ResultsFile(tmp_path / name, SETTINGS)


def test_a_line_that_does_not_fit_leaves_the_file_whole(path: Path) -> None:
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(ONE))
        before = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, hard))
        try:
            with pytest.raises(
                OutputError, match=r"out\.jsonl: File too large; fix this and run the same command again to resume"
            ):
                file.append(entry(TWO))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        file.append(entry(TWO))
    with ResultsFile(path, SETTINGS) as file:
        assert file.has(TWO)


def test_a_setting_that_came_later_was_as_before_it_came(path: Path) -> None:
    old = {"model": "m", "sampling": {"seed": 1}, "rollouts": 8}
    path.write_text(json.dumps({"index": 0, "question": "One?", "settings": old}) + "\n", encoding="utf-8")
    before = path.read_bytes()
    now = old | {"lead": 0, "greedy_first": False, "prune": 0.0, "patience": None}
    with ResultsFile(path, now) as file:
        assert file.has(ONE)
    with pytest.raises(InputError, match=r"\(greedy_first was False, is True, lead was 0, is 2\)"):
        ResultsFile(path, now | {"lead": 2, "greedy_first": True})
    with pytest.raises(InputError, match=r"\(sampling\.seed was 1, is 2\)"):
        ResultsFile(path, now | {"sampling": {"seed": 2}})
    with pytest.raises(InputError, match=r"\(width was None, is 3\)"):
        ResultsFile(path, now | {"width": 3})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "ending", ['"value": NaN}', '"value": 1e999}', '"a": 1, "a": 2}', '"a": ' + "[" * 300 + "]" * 300 + "}"]
)
def test_a_last_line_that_is_whole_is_not_taken_for_a_torn_one(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "out.jsonl"
    content = '{"index": 0, "question": "One?", "answer": "1", "text": "", ' + ending
    path.write_text(content)
    with pytest.raises(InputError, match=r"out\.jsonl, line 1: is not a result of .*: it (has|is nested)"):
        ResultsFile(path, {})
    assert path.read_text() == content
