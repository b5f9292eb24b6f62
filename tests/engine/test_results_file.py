from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import InputError
from marcot.engine.question_file import Question
from marcot.engine.results_file import ResultsFile

SETTINGS = {"model": "m", "sampling": {"stop": ("a", "b"), "seed": 1}, "system": None}
ONE, TWO = Question(0, "One?"), Question(1, "小明?")


def entry(question: Question, **more: Any) -> dict[str, Any]:
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
        assert not file.has(Question(1, "One?"))
    assert "小明?" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1])["value"] is None


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
    for length in range(len(second)):
        path.write_bytes(whole + second[:length])
        with ResultsFile(path, SETTINGS) as file:
            assert file.has(ONE)
            assert not file.has(TWO)
            file.append(entry(TWO))
        assert path.read_bytes() == whole + second


def test_a_lone_surrogate_does_not_break_the_file(path: Path) -> None:
    odd = Question(0, "\udcff?")
    with ResultsFile(path, SETTINGS) as file:
        file.append(entry(odd))
    with ResultsFile(path, SETTINGS) as file:
        assert file.has(odd)


@pytest.mark.parametrize("line", ["hello", "[1]", '{"index": 0}', ""])
def test_a_file_of_something_else_is_left_as_it_is(path: Path, line: str) -> None:
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1: is not a result of marcot search"):
        ResultsFile(path, SETTINGS)
    assert path.read_text(encoding="utf-8") == line + "\n"


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
